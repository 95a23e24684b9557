"""Colors of flow, scale field and features."""

import numpy as np
import pytest
import torch
from torchvision.utils import flow_to_image

from semidff.visualization.color_maps import (
    feature_limits,
    flow_colors,
    flow_wheel,
    rounded_up,
)


def test_known_flow_has_the_colors_of_the_wheel():
    assert (flow_colors(torch.zeros(2, 3, 4)) == 255).all()
    flow = torch.randn(2, 6, 7, generator=torch.Generator().manual_seed(0))
    expected = flow_to_image(flow).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(flow_colors(flow).astype(int) - expected).max() <= 1
    flow = torch.tensor([[[3.0, 0, -3, 0]], [[0.0, 3, 0, -3]]])
    right, down, left, up = flow_colors(flow)[0].tolist()
    assert right[0] == 255 and right[1] < 30  # red
    assert min(down[:2]) > 200 and down[2] < 30  # yellow
    assert left[0] < 30 and min(left[1:]) > 200  # cyan
    assert up[2] == 255 and up[1] < 100  # violet
    picture, inside = flow_wheel(101)
    assert picture.shape == (101, 101, 3) and inside.shape == (101, 101)
    assert (picture[50, 50] > 245).all() and inside[50, 50] and not inside[0, 0]
    assert np.abs(picture[50, 100].astype(int) - right).max() <= 6


def test_saturation_is_the_length_over_the_longest():
    flow = torch.tensor([[[1.0, 2.0, 4.0, 8.0]], [[0.0, 0.0, 0.0, 0.0]]])
    green = flow_colors(flow, longest=4.0)[0, :, 1].astype(float)
    assert green[2] == green[3]  # longer vectors have the same color
    assert 255 - green[1] == pytest.approx((255 - green[2]) / 2, abs=2)
    assert 255 - green[0] == pytest.approx((255 - green[2]) / 4, abs=2)
    assert (flow_colors(flow[..., :3]) == flow_colors(flow, 4.0)[:, :3]).all()


def test_limits():
    low, high = feature_limits(np.arange(101.0), np.full(101, 50.0), np.full(101, 50.0))
    assert 0 < low < 5 and 95 < high < 100
    for value, expected in [(0, 0.5), (0.5, 0.5), (0.51, 1), (3, 4)]:
        assert rounded_up(value, 0.5) == expected
