"""The memory layout changes speed, not results."""

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
