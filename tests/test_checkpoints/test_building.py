"""Detectors built from configs."""

import copy

import pytest
import torch
from mmdet.models.layers.transformer import detr_layers
from mmengine.registry import init_default_scope

from semidff.checkpoints.building import build_detector
from semidff.checkpoints.detectors import read_detector
from semidff.utils.error_messages import ConfigError
from tests.tiny.models import build, frames, retinanet


@torch.no_grad()
def test_synchronized_batch_normalization_of_mmcv_needs_no_process_group():
    settings = retinanet()
    settings['backbone']['norm_cfg'] = dict(type='MMSyncBN', requires_grad=True)
    given = copy.deepcopy(settings)
    model, plain = build(retinanet()).eval(), build_detector(settings).eval()
    plain.load_state_dict(model.state_dict())
    for found, expected in zip(
        plain.extract_feat(frames(1)), model.extract_feat(frames(1)), strict=True
    ):
        assert torch.equal(found, expected)
    assert settings == given


def test_detectors_that_cannot_be_built_are_refused_in_a_sentence(monkeypatch):
    init_default_scope('mmdet')
    with pytest.raises(TypeError, match='^GLIP detects what a text names'):
        build_detector(
            read_detector(
                'mmdet::glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py', False
            ).model
        )
    monkeypatch.setattr(detr_layers, 'checkpoint_wrapper', None)  # as without the package fairscale
    settings = read_detector('mmdet::detr/detr_r18_8xb2-500e_coco.py', warn=False).model
    settings.encoder.num_cp = 1
    with pytest.raises(ConfigError, match='^DETR cannot be built: .*install fairscale'):
        build_detector(settings)
