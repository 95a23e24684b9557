"""Two optimiser steps on two devices, as the authors' training module made them."""

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper

from tests.test_golden.original import (
    SEMANTIC,
    arrays,
    give_proposals,
    in_original_order,
    load,
    norm,
    pair,
    parameters,
    probes,
    read_json,
    sample,
    student,
)
from tests.test_golden.original_proposals import STDS, proposals

RATE = 5e-5
OPTIMISER = dict(
    type='OptimWrapper',
    optimizer=dict(type='RMSpropMX', lr=RATE),
    paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0)}),
)
KEY, CURRENT = 0, 1

# For each step and device: current frame, key frame, mirrored; the goldens call them data and data_ref.
REGRESSION = [
    [(CURRENT, KEY, False), (CURRENT, KEY, True)],
    [(KEY, CURRENT, False), (KEY, CURRENT, True)],
]
SEMANTIC_STEPS = [REGRESSION[0], [(KEY, CURRENT, False), (CURRENT, CURRENT, True)]]


@pytest.mark.parametrize('image', ['teacher_rois', 'eq1_teacher_rois'])
@torch.no_grad()
def test_restated_proposals(model, image):
    golden = arrays('semi_sem_golden.npz')
    frame = pair()[CURRENT if image == 'teacher_rois' else KEY]
    assert np.abs(_proposals(model, frame) - golden[image]).max() < 1e-3


@pytest.mark.parametrize('case', 'abd')
def test_restated_proposals_alone(case):
    golden = arrays('ops_golden.npz')
    scores, deltas, info, given, settings = (
        golden[f'proposal_{case}_{k}']
        for k in ('cls_prob', 'bbox_pred', 'im_info', 'rois', 'params')
    )
    height, width = scores.shape[-2:]
    rois = proposals(
        scores[0, 9:].transpose(1, 2, 0),
        deltas[0].reshape(9, 4, height, width).transpose(2, 3, 0, 1),
        golden['anchors'],
        tuple(info[0, :2].astype(int)),
        *settings[:2].astype(int),
        float(settings[3]),
    )
    np.testing.assert_allclose(rois, given, atol=1e-3)


def test_regression_steps(model):
    model.enter_step([dict(type='FeatureRegression')], ('temporal',))
    run(model, REGRESSION, read_json('semi_reg_step_golden.json'), ('loss_reg',))


def test_semantic_steps(model):
    model.enter_step([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    load(model, parameters('student:', parts=('task_network',)))
    run(model, SEMANTIC_STEPS, read_json('semi_sem_step_golden.json'), SEMANTIC)


def run(model, steps: list, golden: dict, names: tuple[str, ...]) -> None:
    """Makes the steps; each is one batch of two pairs, whose mean gradient is that of the two devices."""
    wrapper = build_optim_wrapper(model, OPTIMISER)
    learning = {k: v for k, v in student(model).items() if v[0].requires_grad}
    start = {name: p.detach().clone() for name, (p, _) in learning.items()}
    for i, devices in enumerate(steps):
        inputs, samples = batch(devices)
        if names == SEMANTIC:
            with torch.no_grad():
                give_proposals(model, *[_proposals(model, frames[1]) for frames in inputs])
        losses = model(inputs, samples, mode='loss')
        expected = np.mean(golden['losses_per_step_and_device'][i], axis=0)
        values = [losses[name].item() for name in names]
        np.testing.assert_allclose(values, expected, rtol=1e-5)
        wrapper.update_params(sum(losses.values()))
        check_changes(learning, start, golden['delta_probes'][i])


def batch(devices: list) -> tuple[torch.Tensor, list]:
    """Pairs (N, 2, 3, H, W) and their data samples."""
    inputs, samples = [], []
    for current, key, mirrored in devices:
        frames = pair(mirrored)
        inputs.append(torch.stack((frames[key], frames[current])))
        samples.append(sample(same=key == current))
    return torch.stack(inputs), samples


def check_changes(learning: dict, start: dict, golden: dict) -> None:
    """Norms of the changes to 1e-4 relative, single changes to 0.002 learning rates."""
    assert set(golden) == set(learning)
    for name, expected in golden.items():
        parameter, order = learning[name]
        change = in_original_order(parameter.detach() - start[name], order)
        assert abs(norm(change) - expected['norm']) <= 1e-4 * expected['norm'], name
        assert np.abs(probes(change) - np.array(expected['values'])).max() < 0.002 * RATE, name
    assert golden['Convolution5_scale_bias']['norm'] == 0


def _proposals(model, frame: torch.Tensor) -> np.ndarray:
    """The original's proposals of the teacher on a frame (3, H, W)."""
    features = model.teacher.features(frame[None])
    heads = model.teacher.head_outputs(features, [sample()], None)
    height, width = features[0].shape[-2:]
    return proposals(
        heads.anchor_logits.softmax(1)[:, 0].reshape(height, width, 9).numpy(),
        heads.anchor_boxes.reshape(height, width, 9, 4).numpy() * STDS,
        arrays('ops_golden.npz')['anchors'],
        tuple(frame.shape[-2:]),
    )
