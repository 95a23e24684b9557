"""Views of a pair: fields, features and numbers about them."""

import numpy as np
import pytest
import torch
from torch import nn

from semidff.inference import Acceleration, accelerate
from semidff.models.temporal.warp import warp
from semidff.visualization.propagation import view_pair
from tests.tiny_video import batch, build, frame, video_detector_cfg


def make_model(flow=(0.0, 0.0), scale: float = 1.0) -> nn.Module:
    """A video detector whose feature flow (in cells) and scale field are the same everywhere."""
    model = build(video_detector_cfg(), seed=3)
    network = model.temporal.flow_network
    with torch.no_grad():
        network.predict_flow.weight.zero_()
        network.predict_flow.bias.copy_(torch.tensor(flow) / network.flow_scale)
        model.temporal.scale.bias.fill_(scale)
    return model


def prepared(model: nn.Module, index: int, size=(64, 96), **metainfo):
    """A frame of the tiny video, cut to a size, after preprocessing, and its data sample."""
    data = batch(2, index)
    data['inputs'] = [data['inputs'][0][:, : size[0], : size[1]]]
    data['data_samples'][0].set_metainfo(dict(img_shape=size, ori_shape=size, **metainfo))
    data = model.data_preprocessor(data, False)
    return data['inputs'], data['data_samples'][0]


def view_of(model: nn.Module, key: int = 0, current: int = 4, size=(64, 96), level=0, **metainfo):
    one, _ = prepared(model, key, size)
    two, sample = prepared(model, current, size, key_frame_id=key, **metainfo)
    frames = np.stack([frame(2, i)[: size[0], : size[1]] for i in (key, current)])
    return view_pair(model, one, two, sample, frames, level=level)


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


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_accelerated_models_can_be_viewed(precision):
    view = view_of(make_model())
    half = view_of(accelerate(make_model(), Acceleration(precision)))
    assert half.target.dtype != torch.float32
    errors = [v.feature_error(v.propagated) for v in (view, half)]
    assert errors[1] == pytest.approx(errors[0], rel=0.02)
    assert half.mean_scaling() == pytest.approx(view.mean_scaling(), abs=0.01)


def test_level_that_the_model_does_not_have():
    with pytest.raises(ValueError, match='level is 3; the feature network gives 3'):
        view_of(make_model(), level=3)
