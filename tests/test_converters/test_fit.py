"""Weights and a config's model: what is loaded, what is refused, what is pointed out."""

import pytest
import torch

from semidff.checkpoints.safe import CheckpointError
from semidff.converters.fit import departures, detector_of, load_parts
from tests.tiny.models import tiny_rfcn, tiny_semi_dff

HEADS = 'spatial.detector.rpn_head.', 'spatial.detector.roi_head.'


def heads(model) -> dict[str, torch.Tensor]:
    """Ones for the task network of a video detector."""
    state = model.state_dict()
    return {k: torch.ones_like(v) for k, v in state.items() if k.startswith(HEADS)}


def test_a_part_is_loaded_and_the_others_stay():
    model = tiny_semi_dff()
    backbone = model.spatial.detector.backbone.conv1.weight.clone()
    teacher = model.teacher_task['rpn_head'].rpn_reg.bias.clone()
    load_parts(model, heads(model), ('task_network',), 'a.params')
    assert (detector_of(model).rpn_head.rpn_reg.bias == 1).all()
    assert torch.equal(model.spatial.detector.backbone.conv1.weight, backbone)
    assert torch.equal(model.teacher_task['rpn_head'].rpn_reg.bias, teacher)


def test_a_plain_detector_takes_a_detectors_part():
    state, model = heads(tiny_semi_dff()), tiny_rfcn()
    load_parts(model, state, ('task_network',), 'a.params')
    assert (model.roi_head.bbox_head.conv_cls.weight == 1).all()
    with pytest.raises(CheckpointError, match=r'RFCN\) is a detector without temporal module'):
        load_parts(model, state, ('task_network', 'temporal'), 'a.params')


def test_departures():
    want = dict(style='caffe', mean=(1, 2, 3), std=(1, 1, 1))
    preprocessor = dict(mean=[1, 2, 3], std=[1, 1, 1], bgr_to_rgb=True)
    plain = dict(backbone=dict(style='caffe'), data_preprocessor=preprocessor)
    assert departures(plain, **want) == []
    video = dict(detector=dict(backbone=dict()), data_preprocessor=preprocessor)
    assert departures(video, **want) == ["backbone.style is 'pytorch'; these weights want 'caffe'"]
    blue_first = dict(plain, data_preprocessor=dict(preprocessor, bgr_to_rgb=False))
    assert departures(blue_first, **want)[0].startswith(
        "data_preprocessor has {'bgr_to_rgb': False}; these weights want"
    )
