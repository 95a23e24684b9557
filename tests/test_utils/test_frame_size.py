"""Size of a frame within a padded input."""

import pytest
from mmdet.structures import DetDataSample

from semidff.utils.frame_size import frame_size


@pytest.mark.parametrize(
    ('metainfo', 'expected'),
    [
        (dict(img_shape=(60, 80)), (60, 80)),
        (dict(img_shape=(60, 80), ori_shape=(120, 160), scale_factor=(0.5, 0.5)), (60, 80)),
        (dict(img_shape=(160, 160), ori_shape=(120, 160), scale_factor=(0.5, 0.25)), (30, 80)),
        # rounded otherwise than by the resizing
        (dict(img_shape=(60, 80), ori_shape=(121, 161), scale_factor=(0.5, 0.5)), (60, 80)),
    ],
)
def test_padding_is_left_out(metainfo, expected):
    assert frame_size(DetDataSample(metainfo=metainfo)) == expected
