"""Crops of whole frames and of their features."""

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample

from semidff.models.crop_window import cropped_features


def test_levels_that_round_down_are_continued_at_their_border():
    """At 80 pixels, average pooling by 64 has one cell, of two that a window at 64 touches."""

    def network(images):
        return (F.avg_pool2d(images, 64),)

    images = torch.arange(80.0).expand(2, 3, 128, 80)
    windows = [(0, 0, 64, 80), (64, 0, 64, 80)]
    samples = [DetDataSample(metainfo=dict(img_shape=(128, 80), crop_window=w)) for w in windows]
    (maps,) = cropped_features(network, images, samples, [64], 1)
    assert maps.shape == (2, 3, 1, 2)
    assert torch.equal(maps, torch.full((2, 3, 1, 2), 31.5))
