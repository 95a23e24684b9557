"""ImageNet's XML -> COCO-VID json."""

import json

import pytest

from semidff.converters.ilsvrc import (
    convert_det,
    convert_vid,
    read_video_image_set,
)
from semidff.datasets.imagenet import ImageNetDETDataset
from tests.shared_data import shared

DOG, CAR, CHAIR = 'n02084071', 'n02958343', 'n03001627'


def xml(*objects, width=320, height=240):
    """Text of an annotation file with (wnid, box, trackid) objects."""
    text = f'<annotation><size><width>{width}</width><height>{height}</height></size>'
    for name, (x1, y1, x2, y2), track in objects:
        number = '' if track is None else f'<trackid>{track}</trackid>'
        text += (
            f'<object>{number}<name>{name}</name><bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin>'
            f'<ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox>'
            '<occluded>1</occluded><generated>0</generated></object>'
        )
    return text + '</annotation>'


@pytest.fixture
def folder(tmp_path):
    """Two videos of four and two frames, with a dog of track 0 in each, and a list."""
    for video, length in (('val/b', 4), ('val/a', 2)):
        (tmp_path / 'xml' / video).mkdir(parents=True)
        for i in range(length):
            objects = [(CAR, (1, 2, 3, 5), 4)] if i == 1 else []
            objects.append((DOG, (10 + i, 20, 110 + i, 90), 0))
            (tmp_path / 'xml' / video / f'{i:06d}.xml').write_text(xml(*objects))
    (tmp_path / 'set.txt').write_text('val/b 1 0 4\nval/a 9 0 2\n')
    return tmp_path


def convert(folder, **options):
    report = convert_vid(folder / 'xml', folder / 'set.txt', folder / 'out.json', 1, **options)
    return report, json.loads((folder / 'out.json').read_text())


def test_videos_and_images(folder):
    report, data = convert(folder)
    videos = [(v['id'], v['name'], v['length']) for v in data['videos']]
    assert videos == [(1, 'val/b', 4), (2, 'val/a', 2)]
    images = [(i['video_id'], i['frame_id'], i['ilsvrc_id']) for i in data['images']]
    assert images == [(1, 0, 1), (1, 1, 2), (1, 2, 3), (1, 3, 4), (2, 0, 9), (2, 1, 10)]
    image = data['images'][4]
    assert image['file_name'] == 'val/a/000000.JPEG' and image['video_length'] == 2
    assert (image['width'], image['height']) == (320, 240)
    assert '6 images of 2 videos, 8 boxes' in str(report) and not report.broken


def test_boxes_flags_and_tracks(folder):
    _, data = convert(folder)
    dogs = [a for a in data['annotations'] if a['category_id'] == 9]
    assert dogs[1]['bbox'] == [11, 20, 100, 70] and dogs[1]['area'] == 7000
    assert dogs[1]['occluded'] is True and dogs[1]['generated'] is False
    assert [a['track_id'] for a in dogs] == [0] * 6
    numbers = [a['instance_id'] for a in dogs]
    assert len(set(numbers[:4])) == 1 and len(set(numbers)) == 2
    cars = [a['instance_id'] for a in data['annotations'] if a['category_id'] == 7]
    assert len({*cars, *numbers}) == 4


@pytest.mark.parametrize(
    ('text', 'frames'),
    [
        ('val/b 1 0 4\nval/b 1 2 4\n', [('b', 0, None), ('b', 2, None)]),
        ('val/b/000003 8\nval/b/000001 5\n', [('b', 1, 5), ('b', 3, 8)]),
        ('val/b/000001 1\nval/b/000002 1\n', [('b', 1, None), ('b', 2, None)]),
        ('val/a 1\n', [('a', 0, None), ('a', 1, None)]),
        ('val/a 1 0 2\nval/a 1 0 2\n', [('a', 0, 1), ('a', 1, 2)]),
        ('val/a/000001 7\nval/a/000001 7\n', [('a', 1, 7)]),
    ],
)
def test_kinds_of_lists(folder, text, frames):
    (folder / 'set.txt').write_text(text)
    listed = read_video_image_set(folder / 'set.txt', folder / 'xml')
    assert [(f.video[-1], f.frame_id, f.ilsvrc_id) for f in listed] == frames
    assert len(convert(folder)[0].images) == len(frames)


def test_frames_per_video(folder):
    _, data = convert(folder, frames_per_video=2)
    images = [(i['video_id'], i['frame_id'], i['ilsvrc_id']) for i in data['images']]
    assert images == [(1, 1, 2), (1, 3, 4), (2, 0, 9), (2, 1, 10)]
    assert [v['length'] for v in data['videos']] == [4, 2]


def test_det_keeps_the_30_classes(tmp_path):
    (tmp_path / 'train/x').mkdir(parents=True)
    (tmp_path / 'train/x/1.xml').write_text(
        xml((CHAIR, (0, 0, 9, 9), None), (CAR, (5, 6, 50, 60), None))
    )
    (tmp_path / 'set.txt').write_text('train/x/1 1\ntrain/x/2 1\n')
    report = convert_det(tmp_path, tmp_path / 'set.txt', tmp_path / 'det.json', workers=1)
    assert '1 images, 1 boxes, 1 objects of other classes' in str(report)
    assert report.broken == {'train/x/2.xml': 'missing'}
    dataset = ImageNetDETDataset(ann_file=str(tmp_path / 'det.json'))
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(tmp_path / 'train/x/1.JPEG') and info['video_length'] == 1
    assert info['instances'][0]['bbox'] == [5, 6, 50, 60]


def test_golden_boxes_come_back():
    folder = shared('golden/vid_eval')
    ann_dir = folder / 'Annotations/VID'
    listed = read_video_image_set(folder / 'ImageSets/VID_val_videos.txt', ann_dir)
    expected = (folder / 'ImageSets/VID_val_videos_eval.txt').read_text().splitlines()
    assert [f'{frame.path} {frame.ilsvrc_id}' for frame in listed] == expected


def test_broken_files_are_named_and_left_out(folder):
    (folder / 'xml/val/b/000002.xml').write_text('<annotation>')
    (folder / 'xml/val/a/000001.xml').unlink()
    report, data = convert(folder)
    for words in (
        '4 images of 2 videos, 5 boxes',
        'WARNING: 2 images left out',
        'val/b/000002.xml: ParseError: ',
        'val/a/000001.xml: missing',
    ):
        assert words in str(report)
    assert set(data['info']['left_out']) == {'val/b/000002.xml', 'val/a/000001.xml'}
    assert [i['frame_id'] for i in data['images']] == [0, 1, 3, 0]
