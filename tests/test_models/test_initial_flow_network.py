"""The trained flow network in the package, from which adaptations start."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from semidff.synthetic.chairs import make_chairs
from semidff.synthetic.render import render, true_flow
from semidff.utils.checkpoint import load_strict

CHECKPOINT = 'semidff::pretrained/flownet-s-eighth_synthetic.pth'
NETWORK = 'temporal.flow_network'
PREPROCESSORS = dict(
    imagenet=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    bgr=dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395]),
    caffe=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0]),
    none=dict(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0]),
)


@pytest.fixture(scope='module')
def pairs():
    """Three generated pairs of pictures, current frame first, and the flow (2, H, W) of each."""
    found = []
    for seed in range(3):
        clip = make_chairs(np.random.SeedSequence(12345, spawn_key=(seed,)), (288, 384))
        (current, owner), (key, key_owner) = render(clip, 0), render(clip, 1)
        flow, _ = true_flow(clip, owner, key_owner, 0, 1)
        images = torch.from_numpy(np.stack((key, current))).permute(0, 3, 1, 2)
        found.append((images, torch.from_numpy(flow).permute(2, 0, 1)))
    return found


@pytest.mark.parametrize('name', PREPROCESSORS)
def test_it_estimates_flow_with_any_normalization(pairs, name):
    """Detectors differ in channel order, mean and standard deviation."""
    init_default_scope('mmdet')
    preprocessor = dict(PREPROCESSORS[name], type='VideoDataPreprocessor')
    model = MODELS.build(
        dict(
            type='FlowPretrainer',
            temporal=dict(
                type='TemporalModule',
                flow_network=dict(type='FlowNetS', width=1 / 8),
            ),
            data_preprocessor=preprocessor,
        )
    ).eval()
    network = model.temporal.flow_network
    network.input_scale = np.mean(preprocessor['std']) / 255
    load_strict(network, CHECKPOINT, prefix=NETWORK)
    errors = []
    with torch.no_grad():
        for images, flow in pairs:
            inputs = model.data_preprocessor(dict(inputs=[images]))['inputs']
            predicted = torch.nn.functional.interpolate(
                model(inputs), flow.shape[1:], mode='bilinear'
            )
            errors.append([(p - flow).norm(dim=0).mean() for p in (predicted[0], 0 * flow)])
    error, of_zero = torch.tensor(errors).mean(0)
    assert error < 0.1 * of_zero
