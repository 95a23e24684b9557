"""Views of a propagation, the numbers about them, and their figure."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from semidff.models.temporal.warp import warp
from semidff.visualization.propagation import (
    PairView,
    draw_propagation,
    view_pair,
)
from tests.tiny.videos import batch, build, frame, video_detector_cfg


def make_model(flow=(0.0, 0.0), scale: float = 1.0) -> nn.Module:
    """A video detector whose feature flow (in cells) and scale field are the same everywhere."""
    model = build(video_detector_cfg(), seed=3)
    network = model.temporal.flow_network
    with torch.no_grad():
        network.predict_flow.weight.zero_()
        network.predict_flow.bias.copy_(torch.tensor(flow) / network.flow_scale)
        model.temporal.scale.bias.fill_(scale)
    return model


def view_of(model: nn.Module, key: int = 0, current: int = 4, size=(64, 96), level=0, **metainfo):
    """View a propagation between frames of the tiny video, cut to a size."""
    data = [batch(2, index) for index in (key, current)]
    for one in data:
        one['inputs'] = [one['inputs'][0][:, : size[0], : size[1]]]
        sizes = dict(img_shape=size, ori_shape=size)
        one['data_samples'][0].set_metainfo(dict(sizes, key_frame_id=key, **metainfo))
    key_data, current_data = (model.data_preprocessor(one, False) for one in data)
    frames = np.stack([frame(2, i)[: size[0], : size[1]] for i in (key, current)])
    inputs = key_data['inputs'], current_data['inputs'], current_data['data_samples'][0]
    return view_pair(model, *inputs, frames, level=level)


def test_constant_flow_and_scale_are_reported_and_applied():
    # the original is half as large as the network input: pixels are those of the original
    view = view_of(make_model((1.0, -2.0), 1.25), level=1, scale_factor=(2.0, 2.0))
    assert view.cell == (8.0, 8.0)
    assert view.mean_motion() == pytest.approx(8 * 5**0.5, rel=1e-4)
    assert view.mean_scaling() == pytest.approx(0.25, rel=1e-4)
    flow = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, *view.key_features.shape[1:])
    by_hand = 1.25 * warp(view.key_features[None], flow)[0]
    torch.testing.assert_close(view.propagated, by_hand, rtol=1e-3, atol=1e-4)


def test_still_frames_have_no_error():
    view = view_of(make_model((1.0, 1.0), 2.0), 3, 3)
    assert torch.equal(view.propagated, view.key_features), 'the key frame itself is not propagated'
    assert view.feature_error(view.propagated) == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(view.student.bboxes, view.key.bboxes)
    torch.testing.assert_close(view.student.bboxes, view.teacher.bboxes, rtol=1e-3, atol=1e-3)


def test_the_student_has_the_settings_of_non_key_frames():
    model = make_model()
    whole = view_of(model)
    model.non_key_test_cfg = dict(max_per_img=2)
    view = view_of(model)
    assert len(view.student) == 2 and torch.equal(view.student.bboxes, whole.student.bboxes[:2])
    assert len(view.key) == len(whole.key) > 2 and len(view.teacher) == len(whole.teacher) > 2


def test_errors_are_relative_to_the_teacher():
    view = view_of(make_model())
    assert torch.equal(view.propagated, view.key_features)
    assert view.feature_error(view.propagated) > 0.01
    assert view.feature_error(1.5 * view.target) == pytest.approx(0.5, rel=1e-5)
    errors = view.error_map(view.propagated)
    assert errors.shape == view.target.shape[1:]
    rms = float(errors.square().mean().sqrt())
    assert rms == pytest.approx(view.feature_error(view.propagated), rel=1e-5)


def test_padding_does_not_count():
    view = view_of(make_model((1.0, 0.0), 1.5), size=(40, 70))
    assert view.covered == (40 / 64, 70 / 96)
    assert view.visible(view.target).shape[1:] == (5, 9)  # cells of 8 pixels
    assert view.visible(view.flow).shape[1:] == (3, 5)  # of 16
    before = view.feature_error(view.propagated)
    view.propagated[:, 5:], view.propagated[:, :, 9:] = 1e6, 1e6
    view.flow[:, 3:], view.flow[:, :, 5:] = 1e6, 1e6
    assert view.feature_error(view.propagated) == before
    assert view.mean_motion() == pytest.approx(16.0, rel=1e-4)


def boxes(count: int = 1) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor([[10.0, 10, 40, 40]]).repeat(count, 1),
        scores=torch.full((count,), 0.9),
        labels=torch.zeros(count, dtype=torch.long),
    )


def made_view(**changes) -> PairView:
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
        names=('10', '13 (+3)'),
    )
    return PairView(**{**fields, **changes})


def draw(*views: PairView, **options):
    return draw_propagation(views, **options)


def test_each_panel_shows_the_field_of_its_title():
    images = [axes.images[0] for axes in draw(made_view()).axes]
    key, student, current, flow, scale, before, after, teacher, unmoved, error = (
        np.asarray(image.get_array()) for image in images
    )
    assert tuple(key[200, 1]) == (255, 200, 0) and tuple(current[200, 1]) == (90, 90, 90)
    assert (current == 90).all() and (student != 90).any(), 'three detections and none'
    assert (flow == flow[0, 0]).all() and flow[0, 0, 0] == 255 and flow[0, 0, 1] < 30
    assert scale == pytest.approx(0.8)
    np.testing.assert_allclose(before, 2 * teacher, rtol=1e-5)
    np.testing.assert_allclose(after, 1.1 * teacher, rtol=1e-5)
    assert np.sqrt(np.square(error).mean()) == pytest.approx(0.1, rel=1e-4)
    assert np.sqrt(np.square(unmoved).mean()) == pytest.approx(1, rel=1e-4)
    assert len({image.get_clim() for image in images[5:8]}) == 1
    assert len({image.get_clim() for image in images[8:]}) == 1
    assert np.mean(images[4].get_clim()) == pytest.approx(1)
    view = made_view()
    panel = draw(view, channel=2).axes[7]
    assert 'channel 2' in panel.get_title()
    np.testing.assert_array_equal(np.asarray(panel.images[0].get_array()), view.target[2])


def test_without_scale_and_without_boxes():
    figure = draw(made_view(scale=None, student=boxes(0), flow=torch.zeros(2, 4, 6)))
    assert len(figure.axes) == 10
    assert [text.get_text() for text in figure.axes[4].texts] == ['no scale field']
    flow = np.asarray(figure.axes[3].images[0].get_array())
    assert flow.min() == 255 and flow.shape == (4, 6, 3)
