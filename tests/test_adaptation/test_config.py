"""The pipeline of an adaptation's training pairs."""

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from semidff.adaptation.config import training_pipeline
from semidff.adaptation.folder import Data

RESIZE = dict(type='Resize', scale=(300, 200), keep_ratio=True)


def pairs(
    resize: dict,
    crop: tuple | None,
    count: int = 20,
    feature_cache: float = 0.0,
    padding: int = 0,
    pad: dict | None = None,
) -> set[tuple[int, int]]:
    """Sizes of pairs from frames of 200 x 300, of which ``padding`` pixels are black."""
    init_default_scope('mmdet')
    pads = [pad] if pad else []
    steps = [dict(type='LoadImageFromFile'), resize, *pads, dict(type='PackDetInputs')]
    own = Config(dict(detector_dataset=dict(pipeline=steps)))
    data = Data(1.0, crop, 4, 0, 0, feature_cache, 0)
    pipeline = Compose(training_pipeline(own, data, strides=[8, 16]))
    frames = [np.zeros((200, 300, 3), np.uint8), np.ones((200, 300, 3), np.uint8)]
    found = set()
    for _ in range(count):
        shapes = [frame.shape[:2] for frame in frames]
        results = dict(img=list(frames), img_shape=shapes, ori_shape=shapes, frame_id=[0, 1])
        packed = pipeline(results)
        key, current = packed['inputs']
        window = packed['data_samples'].metainfo.get('crop_window')
        assert (window is not None) == bool(crop and feature_cache)
        assert window is None or (window[2:] == crop and not window[0] % 16 and not window[1] % 16)
        assert not pad or window[0] <= 16
        assert key.shape == current.shape and not key.any()
        assert (current == 0).sum() == 3 * padding
        found.add(tuple(key.shape[1:]))
    return found


def test_cropped_frames_have_several_sizes():
    sizes = pairs(RESIZE, (160, 160))
    assert len(sizes) > 5
    assert {width for _, width in sizes} >= {160}
    assert min(height for height, _ in sizes) < 130 and max(height for height, _ in sizes) == 160


@pytest.mark.parametrize(
    'resize, crop, size',
    [(RESIZE, None, (200, 300)), (dict(RESIZE, scale=100), (90, 90), (67, 90))],
)
def test_whole_frames_and_sizes_of_one_number_stay(resize, crop, size):
    assert pairs(resize, crop, 5) == {size}


@pytest.mark.parametrize('mode', [('logical_or', 31), ('size_divisor', 32)])
def test_padding_of_centernet(mode):
    none = dict.fromkeys(('crop_size', 'ratios', 'border'))
    pad = dict(type='RandomCenterCropPad', test_mode=True, test_pad_mode=mode, **none)
    assert pairs(pad, None, 5, padding=224 * 320 - 200 * 300) == {(224, 320)}


def test_frames_whose_features_are_kept_stay_whole_and_have_two_sizes():
    assert pairs(RESIZE, (96, 96), feature_cache=1.0) == {(200, 300), (100, 150)}
    assert pairs(RESIZE, None, feature_cache=1.0) == {(200, 300)}


def test_crops_leave_out_the_padding():
    """Frames of 200 x 300, padded to squares of one size; windows of 180 rows begin at row 0 or 16
    of them.
    """
    pad = dict(type='Pad', size=(300, 300))
    sizes = pairs(RESIZE, (180, 300), feature_cache=1.0, padding=100 * 300, pad=pad)
    assert sizes == {(300, 300)}
