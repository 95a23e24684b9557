"""Pairs with labels on the current frame."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from mmdet.utils import register_all_modules

from semidff.datasets import CocoVIDDataset, LabeledPairDataset, SampleStream

register_all_modules(init_default_scope=True)

LENGTH, LABELED = 12, (0, 5, 11)
PIPELINE = [
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackFramePair'),
]


@pytest.fixture
def data(tmp_path):
    """A video whose frame n is of color 20 n, left half darker; frames 0, 5 and 11 are labeled."""
    (tmp_path / 'clip').mkdir()
    images, annotations = [], []
    for frame in range(LENGTH):
        picture = np.full((32, 48, 3), 20 * frame, np.uint8)
        picture[:, :24] += 10
        name = f'clip/{frame:04d}.png'
        cv2.imwrite(str(tmp_path / name), picture)
        labeled = frame in LABELED
        images.append(
            dict(id=frame + 1, file_name=name, width=48, height=32, video_id=1, frame_id=frame)
        )
        if not labeled:
            images[-1]['is_labeled'] = False
            continue
        box = dict(bbox=[2, 4, 10, 20], category_id=1, image_id=frame + 1)
        annotations.append(dict(box, id=len(annotations) + 1))
    return dict(
        videos=[dict(id=1, name='clip')],
        images=images,
        annotations=annotations,
        categories=[dict(id=1, name='thing')],
    )


@pytest.fixture
def frames_of(tmp_path):
    def build(data, **options):
        path = tmp_path / 'ann.json'
        path.write_text(json.dumps(data))
        return CocoVIDDataset(
            ann_file='ann.json', data_root=str(tmp_path), data_prefix=dict(img=''), **options
        )

    return build


def pairs(dataset, low=0, high=9):
    interval = dict(type='UniformInterval', low=low, high=high)
    return LabeledPairDataset(dataset, interval, PIPELINE)


def stream(dataset, count):
    """The first samples of a stream, as (key frame id, current frame id, sample)."""
    items = [SampleStream(dataset=dataset)[(3, counter)] for counter in range(count)]
    meta = [item['data_samples'] for item in items]
    return [(m.key_frame_id, m.frame_id, item) for m, item in zip(meta, items, strict=True)]


def test_current_frames_are_labeled_and_every_frame_can_be_key(data, frames_of):
    drawn = stream(pairs(frames_of(data)), 300)
    assert {current for _, current, _ in drawn} == set(LABELED)
    assert {key for key, _, _ in drawn} == set(range(LENGTH))
    assert all(0 <= current - key <= 9 for key, current, _ in drawn)


def test_intervals_are_uniform_and_clipped_at_the_start(data, frames_of):
    drawn = stream(pairs(frames_of(data)), 900)
    late = Counter(current - key for key, current, _ in drawn if current == 11)
    assert set(late) == set(range(10)) and max(late.values()) < 2.5 * min(late.values())
    early = Counter(current - key for key, current, _ in drawn if current == 5)
    # intervals of 5 and more all reach frame 0
    assert set(early) == set(range(6)) and early[5] > 3 * early[4]
    assert all(key == 0 for key, current, _ in drawn if current == 0)


def test_frames_and_boxes_go_together(data, frames_of):
    for key, current, item in stream(pairs(frames_of(data)), 60):
        inputs, sample = item['inputs'], item['data_samples']
        flipped = sample.flip
        left = (slice(None), 0, -1 if flipped else 0)
        assert inputs.shape == (2, 3, 32, 48)
        assert inputs[0][left].unique().item() == 20 * key + 10
        assert inputs[1][left].unique().item() == 20 * current + 10
        boxes = sample.gt_instances.bboxes.tensor
        x1 = 48 - 12 if flipped else 2
        assert torch.equal(boxes, torch.tensor([[x1, 4.0, x1 + 10, 24.0]]))
    assert {item['data_samples'].flip for *_, item in stream(pairs(frames_of(data)), 20)} == {
        True,
        False,
    }


def test_stills_are_their_own_key_frames(data, frames_of):
    for image in data['images']:
        del image['video_id'], image['frame_id']
        image.pop('is_labeled', None)
    del data['videos']
    dataset = pairs(frames_of(data, filter_cfg=dict(filter_empty_gt=True)))
    assert len(dataset) == len(LABELED)
    for key, current, item in stream(dataset, 20):
        assert key == current == 0 and torch.equal(*item['inputs'])


def test_frames_that_are_not_listed_come_from_the_videos_pattern(data, frames_of):
    listed = [image for image in data['images'] if image.get('is_labeled', True)]
    sparse = {**data, 'images': listed}
    with pytest.raises(ValueError, match=r"frame \d+ of video 'clip'.*is_labeled.*frame_pattern"):
        stream(pairs(frames_of(sparse)), 20)
    sparse['videos'] = [dict(id=1, name='clip', frame_pattern='clip/%04d.png')]
    drawn = stream(pairs(frames_of(sparse)), 100)
    assert {key for key, _, _ in drawn} == set(range(LENGTH))
    for key, _, item in drawn:
        assert item['inputs'][0].float().mean() == 20 * key + 5
