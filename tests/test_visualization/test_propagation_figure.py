"""The figure of a propagation."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from semidff.visualization.propagation import (
    MARGIN,
    PANEL,
    FigureStyle,
    PairView,
    draw_propagation,
    to_array,
)

NAMES = ('10', '13 (+3)')


def boxes(count: int = 1) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor([[10.0, 10, 40, 40]]).repeat(count, 1),
        scores=torch.full((count,), 0.9),
        labels=torch.zeros(count, dtype=torch.long),
    )


def view(**changes) -> PairView:
    """Features that are off by a tenth, flow of one cell to the right, scale of 0.8."""
    features = torch.rand(8, 4, 6, generator=torch.Generator().manual_seed(0)) + 1
    fields = dict(
        frames=np.full((2, 64, 96, 3), 90, np.uint8),
        flow=torch.tensor([1.0, 0.0]).view(2, 1, 1).repeat(1, 4, 6),
        scale=torch.full((8, 4, 6), 0.8),
        key_features=2 * features,
        propagated=1.1 * features,
        target=features,
        key=boxes(),
        student=boxes(3),
        teacher=boxes(0),
    )
    return PairView(**{**fields, **changes})


def test_panels_titles_and_size(tmp_path):
    style = FigureStyle(('disc',), dpi=50)
    figure = draw_propagation([view(), view()], [NAMES, NAMES], style)
    assert len(figure.axes) == 2 * 10
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:10] == titles[10:]
    for title, figures in zip(
        titles,
        ('10', '13 (+3)', '13 (+3)', '16.0 pixels (1.00', '0.200', 'key-', 'propagated', 'teacher', '100.0%', '10.0%'),
        strict=False,
    ):  # fmt: skip
        assert figures in title
    figure.savefig(tmp_path / 'p.png')
    height, width = cv2.imread(str(tmp_path / 'p.png')).shape[:2]
    assert to_array(figure).shape == (height, width, 3)
    assert width == round((5 * PANEL + MARGIN) * 50)
    assert height == pytest.approx(4 * (PANEL * 64 / 96 + 0.5) * 50, abs=2)


def panels(figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def test_each_panel_shows_the_field_of_its_title():
    figure = draw_propagation([view()], [NAMES], FigureStyle(dpi=40))
    key, student, current, flow, scale, before, after, teacher, unmoved, error = panels(figure)
    assert tuple(key[200, 1]) == (255, 200, 0) and tuple(current[200, 1]) == (90, 90, 90)
    assert (current == 90).all() and (student != 90).any(), 'three detections and none'
    assert (flow == flow[0, 0]).all() and flow[0, 0, 0] == 255 and flow[0, 0, 1] < 30
    assert scale == pytest.approx(0.8)
    np.testing.assert_allclose(before, 2 * teacher, rtol=1e-5)
    np.testing.assert_allclose(after, 1.1 * teacher, rtol=1e-5)
    assert np.sqrt(np.square(error).mean()) == pytest.approx(0.1, rel=1e-4)
    assert np.sqrt(np.square(unmoved).mean()) == pytest.approx(1, rel=1e-4)
    images = [axes.images[0] for axes in figure.axes]
    assert len({image.get_clim() for image in images[5:8]}) == 1
    assert len({image.get_clim() for image in images[8:]}) == 1
    assert np.mean(images[4].get_clim()) == pytest.approx(1)


def test_padding_is_cut_off_and_arrows_are_drawn():
    style = FigureStyle(arrows=True, dpi=40)
    figure = draw_propagation([view(covered=(0.5, 0.75))], [NAMES], style)
    flow = figure.axes[3]
    assert flow.get_xlim() == pytest.approx((0, 96)) and flow.get_ylim() == pytest.approx((64, 0))
    assert flow.images[0].get_extent() == pytest.approx((0, 128, 128, 0))
    [arrows] = flow.collections
    assert len(arrows.U) == 2 * 5 and set(arrows.U) == {16.0}


def test_without_scale_and_without_boxes():
    bare = view(scale=None, student=boxes(0), flow=torch.zeros(2, 4, 6))
    figure = draw_propagation([bare], [NAMES], FigureStyle(dpi=40))
    assert len(figure.axes) == 10
    assert [text.get_text() for text in figure.axes[4].texts] == ['no scale field']
    assert (panels_of_flow := np.asarray(figure.axes[3].images[0].get_array())).min() == 255
    assert panels_of_flow.shape == (4, 6, 3)
