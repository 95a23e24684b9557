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
