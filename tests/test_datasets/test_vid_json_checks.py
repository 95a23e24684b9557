"""Every error of an annotation file is reported, and none of them is believed."""

import time

import pytest

from semidff.datasets.vid_json import check_vid_json, match_classes


def valid(frames=3):
    images = [
        dict(id=n, file_name=f'{n}.jpg', width=64, height=48, video_id=7, frame_id=n)
        for n in range(frames)
    ]
    boxes = [
        dict(id=n, image_id=n, category_id=1, bbox=[1, 2.5, 3, 4], instance_id=1)
        for n in range(frames)
    ]
    return dict(
        videos=[dict(id=7, name='v')],
        images=images,
        annotations=boxes,
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
    )


def test_valid_content():
    check_vid_json(valid(), 'a.json')
    without = valid()
    del without['videos']
    check_vid_json(without, 'a.json')
    assert without['videos'] == []


@pytest.mark.parametrize('pattern', ['%d', 'a/%06d.png', '100%%/%012d_b.png', None])
def test_places_for_the_frame_number(pattern):
    content = valid()
    content['videos'][0]['frame_pattern'] = pattern
    check_vid_json(content, 'a.json')


NAN, INF = float('nan'), float('inf')
CHANGES = [
    (name, key, value)
    for name, key, values in (
        ('images', 'id', (None, 0.5, True, [])),
        ('images', 'file_name', (None, '')),
        ('images', 'width', (None, 0, -1, 64.5, 10**9)),
        ('images', 'height', (0, NAN)),
        ('images', 'video_id', (8, {})),
        ('images', 'frame_id', (-1, 0.5, 10**12, True)),
        ('images', 'is_labeled', ('false', 'no')),
        ('images', 'ilsvrc_id', (1.5,)),
        ('annotations', 'area', ('big', NAN, INF, [])),
        ('annotations', 'iscrowd', ('yes', 2, -1, [])),
        ('annotations', 'image_id', (None, 0.5)),
        ('annotations', 'category_id', (None, 3, 0)),
        ('annotations', 'instance_id', (0.5,)),
        ('annotations', 'score', ('0.5', NAN, INF)),
        ('annotations', 'bbox', ([1, 2, 3], [1, 2, 3, NAN], [1, 2, INF, 4], '1234')),
        ('annotations', 'bbox', ([1, 2, '3', 4], [1, 2, None, 4], [0, 0, 1e9, 1])),
        ('annotations', 'bbox', ({'x': 1}, [1, 2, True, 4], [[1], 2, 3, 4])),
        ('categories', 'id', (None, 2)),
        ('categories', 'name', (None, '')),
        ('videos', 'id', (None,)),
        ('videos', 'length', (-1, 2.5, 10**9)),
        ('videos', 'frame_pattern', (5, 'a.png', '%d/%d', '%q', '%s', '%06f', '%', '%d%')),
        ('videos', 'frame_pattern', ('%050000000000d', '%0100d', '%6d')),
    )
    for value in values
]


@pytest.mark.parametrize(('name', 'key', 'value'), CHANGES)
def test_a_wrong_value_is_named(name, key, value):
    content = valid()
    content[name][0][key] = value
    with pytest.raises(ValueError, match=rf'a\.json: [^\0]*of \d {name} have .*{key}') as error:
        check_vid_json(content, 'a.json')
    assert f'first {name}[' in str(error.value)


@pytest.mark.parametrize('name', ['images', 'annotations', 'categories', 'videos'])
@pytest.mark.parametrize('value', [{}, 'text', 3, [1], [None]])
def test_a_wrong_list_is_named(name, value):
    with pytest.raises(ValueError, match=rf'not a COCO json file: .*{name}'):
        check_vid_json(valid() | {name: value}, 'a.json')


@pytest.mark.parametrize('content', [None, [], 3, 'x', {}])
def test_other_json(content):
    with pytest.raises(ValueError, match="not a COCO json file: it has no list 'categories'"):
        check_vid_json(content, 'a.json')


def test_all_errors_in_one_message():
    content = valid()
    content['images'][1]['width'] = 0
    content['annotations'][0]['bbox'] = content['annotations'][2]['bbox'] = [0, 0, NAN, 1]
    with pytest.raises(ValueError) as error:
        check_vid_json(content, 'a.json')
    lines = str(error.value).splitlines()
    assert lines[0] == 'a.json: 2 kinds of errors:' and len(lines) == 3
    assert (
        '1 of 3 images have a width' in lines[1]
        and "images[1] (id 1, file_name '1.jpg')" in lines[1]
    )
    assert '2 of 3 annotations have a bbox' in lines[2] and '[0, 0, nan, 1]' in lines[2]


def test_a_hundred_thousand_boxes_take_less_than_two_seconds():
    content = valid(100_000)
    start = time.process_time()
    check_vid_json(content, 'a.json')
    assert time.process_time() - start < 2


def test_values_of_other_programs_are_converted():
    """pandas writes integers as floats; other programs write ids as texts and names as numbers."""
    content, converted = valid(), valid()
    for n, image in enumerate(content['images']):
        image.update(id=float(n), width='64', height=48.0, frame_id=f'00000{n}', is_labeled=1)
        converted['images'][n].update(is_labeled=True)
    for box in content['annotations']:
        box.update(image_id=str(box['image_id']), instance_id='car-7', id=3)
    content['videos'][0]['name'] = 5
    converted['videos'][0]['name'] = '5'
    check_vid_json(content, 'a.json')
    check_vid_json(converted, 'a.json')
    assert content['images'] == converted['images'] and content['videos'] == converted['videos']
    assert [box['image_id'] for box in content['annotations']] == [0, 1, 2]
    assert {box['instance_id'] for box in content['annotations']} == {1}


def test_ids_that_are_texts_are_numbered():
    content = valid()
    for n, name in enumerate('xyz'):
        content['images'][n]['id'] = content['annotations'][n]['image_id'] = name
    check_vid_json(content, 'a.json')
    assert [image['id'] for image in content['images']] == [1, 2, 3]
    assert [box['image_id'] for box in content['annotations']] == [1, 2, 3]


def test_annotations_that_cannot_be_used_are_left_out_and_counted(log):
    content = valid(6)
    for n, change in enumerate(
        (dict(bbox=[]), dict(bbox=None), dict(bbox=[1, 2, -5, 4]), dict(image_id=99))
    ):
        content['annotations'][n].update(change)
    check_vid_json(content, 'a.json')
    assert [box['id'] for box in content['annotations']] == [4, 5]
    for words in ('2 of 6 annotations have no box', '1 of 4', '1 of 3'):
        assert words in log.text


def test_categories_of_one_name_are_one_class():
    content = valid()
    content['categories'].insert(0, dict(id=0, name='dog'))
    assert match_classes(content, None, 'a.json') == (('dog', 'cat'), {0: 0, 1: 1, 2: 0})
    assert match_classes(content, ['cat', 'dog'], 'a.json')[1] == {0: 1, 1: 0, 2: 1}
