"""The memory layout changes speed, not results."""

import copy
from types import SimpleNamespace

import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from semidff.engine import ChannelsLastHook
from tests import models


def test_same_features_and_state_dict():
    init_default_scope('mmdet')
    detector = MODELS.build(ConfigDict(models.rfcn())).eval()
    images = torch.rand(2, 3, *models.SIZE)
    with torch.no_grad():
        before = detector.extract_feat(images)[0]
    state = {key: value.clone() for key, value in detector.state_dict().items()}
    ChannelsLastHook().before_run(SimpleNamespace(model=detector))
    with torch.no_grad():
        after = detector.extract_feat(images)[0]
    assert torch.allclose(before, after, rtol=1e-4, atol=1e-5)
    assert detector.neck.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(state[key], value) for key, value in detector.state_dict().items())


def test_roi_align_reads_the_same_maps():
    """mmcv's own takes channels-last maps for contiguous ones."""
    init_default_scope('mmdet')
    detector = MODELS.build(ConfigDict(models.faster_rcnn()))
    maps = [torch.rand(1, 16, 64 // s, 96 // s) for s in (4, 8, 16, 32)]
    rois = torch.tensor([[0, 4.0, 6.0, 40.0, 30.0], [0, 2.0, 2.0, 90.0, 60.0]])
    before = detector.roi_head.bbox_roi_extractor(maps, rois)
    for _ in range(2):
        ChannelsLastHook().before_run(SimpleNamespace(model=detector))
    mixed = [level.to(memory_format=torch.channels_last) for level in maps]
    assert torch.equal(detector.roi_head.bbox_roi_extractor(mixed, rois), before)
    assert len(detector.roi_head.bbox_roi_extractor._forward_pre_hooks) == 1


def test_a_resumed_optimizer_state_gets_the_layout_of_the_weights():
    """Without it, fused Adam applies each average to another weight, without an error."""
    torch.manual_seed(0)
    network = torch.nn.Conv2d(4, 4, 3)
    reference = torch.nn.Conv2d(4, 4, 3)
    reference.load_state_dict(network.state_dict())
    images = torch.rand(2, 4, 8, 8)

    def step(module, optimizer):
        optimizer.zero_grad()
        module(images).square().mean().backward()
        optimizer.step()

    plain = torch.optim.Adam(reference.parameters(), lr=0.1, fused=False)
    step(reference, plain)
    network.load_state_dict(reference.state_dict())
    resumed = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
    runner = SimpleNamespace(model=network, optim_wrapper=SimpleNamespace(optimizer=resumed))
    hook = ChannelsLastHook()
    hook.before_run(runner)
    state = copy.deepcopy(plain.state_dict())
    resumed.load_state_dict(dict(state, param_groups=resumed.state_dict()['param_groups']))
    hook.before_train(runner)
    step(reference, plain)
    step(network, resumed)
    assert torch.allclose(network.weight, reference.weight, atol=1e-5)
