"""COCO-VID json as a dataset."""

import json

import pytest
from PIL import ExifTags, Image

from semidff.datasets import CocoVIDDataset
from semidff.datasets.video_readers import VideoError

FRAME = {'width': 100, 'height': 80}


def content():
    """Video 7 with frames 0 and 1, video 3 with frame 4; file order mixed up; frame 0 is empty."""
    images = [
        {'id': 1, 'file_name': 'b/1.jpg', 'video_id': 7, 'frame_id': 1, **FRAME},
        {'id': 2, 'file_name': 'a/4.jpg', 'video_id': 3, 'frame_id': 4, **FRAME},
        {'id': 3, 'file_name': 'b/0.jpg', 'video_id': 7, 'frame_id': 0, **FRAME},
    ]
    annotations = [
        {'id': 1, 'image_id': 1, 'category_id': 4, 'bbox': [1, 2, 0.5, 4], 'instance_id': 8},
        {'id': 2, 'image_id': 1, 'category_id': 4, 'bbox': [1, 2, 30, 40], 'instance_id': 5},
        {'id': 3, 'image_id': 2, 'category_id': 9, 'bbox': [1, 2, 30, 40]},
    ]
    categories = [{'id': 4, 'name': 'cat'}, {'id': 9, 'name': 'dog'}]
    videos = [{'id': 3, 'name': 'a', 'length': 9}, {'id': 7, 'name': 'b'}]
    return {
        'videos': videos,
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }


@pytest.fixture
def make(tmp_path):
    def build(data, **options):
        path = tmp_path / 'ann.json'
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return CocoVIDDataset(ann_file=str(path), data_prefix={'img': 'frames/'}, **options)

    return build


def test_frames_in_order_of_videos_and_time(make):
    dataset = make(content(), test_mode=True)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [(i['video_id'], i['frame_id'], i['img_id']) for i in infos] == [
        (3, 4, 2),
        (7, 0, 3),
        (7, 1, 1),
    ]
    assert [(i['video_name'], i['video_length']) for i in infos] == [('a', 9), ('b', 2), ('b', 2)]
    assert infos[0]['img_path'] == 'frames/a/4.jpg'


def test_instances(make, log):
    dataset = make(content(), test_mode=True)
    assert dataset.metainfo['classes'] == ('cat', 'dog')  # those of the json
    (dog,) = dataset.get_data_info(0)['instances']
    assert dog['bbox'] == [1, 2, 31, 42] and dog['bbox_label'] == 1 and dog['instance_id'] == -1
    (cat,) = dataset.get_data_info(2)['instances']  # the thin one is left out, as in mmdet
    assert '1 of 3 boxes are left out' in log.text and 'b/1.jpg [1, 2, 0.5, 4]' in log.text
    assert cat['instance_id'] == 5 and cat['bbox_label'] == 0 and cat['ignore_flag'] == 0


def test_empty_frames_stay_in_test_and_go_in_training(make):
    options = {'filter_cfg': {'filter_empty_gt': True}}
    assert len(make(content(), test_mode=True, **options)) == 3
    training = make(content(), **options)
    assert [training.get_data_info(i)['img_id'] for i in range(len(training))] == [2, 1]
    assert len(make(content())) == 3


def test_some_of_the_classes_are_labeled(make, log):
    """In a test, not in a training, which would take their objects for background."""
    dataset = make(content(), metainfo={'classes': ('bear', 'dog')}, test_mode=True)
    assert dataset.metainfo['classes'] == ('bear', 'dog') and 'CocoMetric' in log.text
    assert [i['bbox_label'] for n in range(3) for i in dataset.get_data_info(n)['instances']] == [1]
    with pytest.raises(ValueError, match=r'ann\.json: none of its classes .*cat.* is a class'):
        make(content(), metainfo={'classes': ('bear', 'cow')}, test_mode=True)


@pytest.mark.parametrize('inside', ['a.jpg', 'ann/a.jpg'])
def test_images_are_beside_the_json_wherever_it_is_read(tmp_path, monkeypatch, inside):
    (tmp_path / 'set' / inside).parent.mkdir(parents=True)
    Image.new('RGB', (100, 80)).save(tmp_path / 'set' / inside)
    data = dict(images=[dict(id=1, file_name='a.jpg', **FRAME)], annotations=[])
    data['categories'] = [dict(id=1, name='cat')]
    (tmp_path / 'set' / 'ann.json').write_text(json.dumps(data))
    monkeypatch.chdir(tmp_path)
    dataset = CocoVIDDataset(ann_file='set/ann.json', test_mode=True)
    assert dataset.get_data_info(0)['img_path'] == f'set/{inside}'


def test_plain_images_are_videos_of_one_frame(make):
    data = content()
    del data['videos']
    for image in data['images']:
        del image['video_id'], image['frame_id']
    dataset = make(data, test_mode=True)
    infos = [dataset.get_data_info(i) for i in range(3)]
    assert len({i['video_id'] for i in infos}) == 3
    assert {(i['frame_id'], i['video_length']) for i in infos} == {(0, 1)}
    assert infos[1]['video_name'] == 'a/4.jpg'


@pytest.mark.parametrize(
    ('edit', 'reason'),
    [
        (lambda data: data['images'].clear(), 'has no images'),
        (lambda data: data['images'][0].pop('video_id'), "1 of 3 images .*first 'b/1.jpg'"),
        (lambda data: data['images'][0].pop('frame_id'), "1 of 3 images .*first 'b/1.jpg'"),
        (lambda data: data['images'][0].update(frame_id=0), 'are both frame 0 of video 7'),
    ],
)
def test_broken_json_is_named(make, edit, reason):
    data = content()
    edit(data)
    with pytest.raises(ValueError, match=rf'ann\.json.*{reason}'):
        make(data)


@pytest.mark.parametrize('orientation', [1, 6])
def test_boxes_of_a_photo_that_is_turned_by_its_exif_data(tmp_path, log, orientation):
    """The json has the size of the stored photo, the boxes are those of the turned one."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new('RGB', (100, 80)).save(tmp_path / 'a.jpg', exif=exif)
    boxes = [[1, 2, 30, 40], [10, 81, 60, 18]]
    data = dict(
        images=[dict(id=1, file_name='a.jpg', **FRAME)],
        annotations=[dict(id=i, image_id=1, category_id=1, bbox=b) for i, b in enumerate(boxes)],
        categories=[dict(id=1, name='cat')],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(data))
    dataset = CocoVIDDataset(
        ann_file=str(tmp_path / 'ann.json'), data_prefix={'img': str(tmp_path)}, test_mode=True
    )
    found = [instance['bbox'] for instance in dataset.get_data_info(0)['instances']]
    turned = [[1, 2, 31, 42], [10, 81, 70, 99]]
    assert found == (turned if orientation == 6 else turned[:1])
    assert ('1 of 2 boxes are left out' in log.text) == (orientation == 1)


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / 'a.jpg').touch()
    data = dict(images=[dict(id=1, file_name='a.jpg', **FRAME)], annotations=[], categories=[])
    (tmp_path / 'ann.json').write_text(json.dumps(data))
    dataset = CocoVIDDataset(
        ann_file='ann.json', data_root=str(tmp_path), pipeline=[dict(type='mmcv.LoadImageFromFile')]
    )
    with pytest.raises(VideoError, match=r'a\.jpg: corrupt'):
        dataset[0]
