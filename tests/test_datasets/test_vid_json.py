"""COCO-VID json: what is converted and left out, and every error that is reported."""

import json
from pathlib import Path

import pytest

from semidff.datasets import CocoVIDDataset
from semidff.datasets.vid_json import check_vid_json, load_vid_json, match_classes
from semidff.evaluation.vid_evaluator import VIDEvaluator


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


NAN = float('nan')
# List, key and wrong value of its first entry.
CHANGES = [
    ('images', 'id', None), ('images', 'file_name', ''), ('images', 'width', 64.5),
    ('images', 'height', 0), ('images', 'video_id', 8), ('images', 'is_labeled', 'no'),
    ('annotations', 'image_id', 0.5), ('annotations', 'category_id', 3), ('images', 'frame_id', -1),
    ('annotations', 'bbox', [1, 2, 3]), ('annotations', 'bbox', [1, 2, 3, NAN]),
    ('annotations', 'bbox', [1, 2, '3', 4]), ('categories', 'id', 2), ('categories', 'name', None),
    ('videos', 'id', None), ('videos', 'length', 2.5), ('videos', 'frame_pattern', 5),
    ('videos', 'frame_pattern', 'a.png'), ('videos', 'frame_pattern', '%d/%d'),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'key', 'value'), CHANGES)
def test_a_wrong_value_is_named(name, key, value):
    content = valid()
    content[name][0][key] = value
    with pytest.raises(ValueError, match=rf'a\.json: [^\0]*of \d {name} have .*{key}') as error:
        check_vid_json(content, 'a.json')
    assert f'first {name}[' in str(error.value)


def test_all_errors_in_one_message():
    content = valid()
    content['images'][1]['width'] = 0
    content['annotations'][0]['bbox'] = content['annotations'][2]['bbox'] = [0, 0, NAN, 1]
    with pytest.raises(ValueError) as error:
        check_vid_json(content, 'a.json')
    lines = str(error.value).splitlines()
    assert lines[0] == 'a.json: 2 kinds of errors:' and len(lines) == 3
    assert '1 of 3 images have an invalid width' in lines[1] and "images[1]: {'id': 1" in lines[1]
    assert '2 of 3 annotations have an invalid bbox' in lines[2] and '[0, 0, nan, 1]' in lines[2]


def test_values_of_other_programs_are_converted():
    """pandas writes integers as floats; other programs write ids as texts and names as numbers."""
    content, converted = valid(), valid()
    for n, image in enumerate(content['images']):
        converted['images'][n].update(file_name=f'v/{n}.jpg')
        image.update(file_name=f'v\\{n}.jpg')  # of Windows
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
    for words in ('left out of 6: 2 have no box', '1 have a negative', '1 have an image_id'):
        assert words in log.text


def test_categories_of_one_name_are_one_class():
    """Labels follow the names, in whatever order the classes are asked for."""
    content = valid()
    content['categories'].insert(0, dict(id=0, name='dog'))
    assert match_classes(content, None, 'a.json') == (('dog', 'cat'), {0: 0, 1: 1, 2: 0})
    assert match_classes(content, ['cat', 'dog'], 'a.json')[1] == {0: 1, 1: 0, 2: 1}


def test_null_is_the_same_as_nothing(tmp_path):
    contents = [valid(), valid()]
    null = dict(
        videos=dict(length=None, frame_pattern=None),
        images=dict(video_length=None, ilsvrc_id=None, is_labeled=None),
        annotations=dict(area=None, iscrowd=None, score=None, note=None),
    )
    for name, keys in null.items():
        contents[1][name] = [keys | entry for entry in contents[1][name]]
    files = [str(tmp_path / 'short.json'), str(tmp_path / 'null.json')]
    for file, content in zip(files, contents, strict=True):
        Path(file).write_text(json.dumps(content))
    short, null = map(load_vid_json, files)
    assert short == null == valid()
    assert VIDEvaluator(files[1]).labeled.all()
    assert len(CocoVIDDataset(ann_file=files[1])[0]['instances']) == 1
