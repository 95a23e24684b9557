"""Shallow copies of modules with other parts."""

import pytest
import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from semidff.models.spatial.head_family import twin, with_test_cfg
from tests.detectors.stock_detectors import build_stock
from tests.models import build, faster_rcnn


class Stack(nn.Module):
    """Levels with the same layer, as in RTMDet's head."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(2, 2)
        self.levels = nn.ModuleList([nn.Sequential(layer), nn.Sequential(layer)])
        self.last = nn.Linear(2, 1)

    def forward(self, values: Tensor) -> Tensor:
        for level in self.levels:
            values = level(values)
        return self.last(values)


class WithoutLevels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stack = Stack()

    def forward(self, values: Tensor) -> Tensor:
        return twin(self.stack, levels=nn.ModuleList([nn.Identity()]))(values)


def test_twins_of_modules_with_shared_layers_are_exported():
    torch.manual_seed(0)
    module, values = WithoutLevels(), torch.randn(3, 2)
    program = torch.export.export(module, (values,), strict=False)
    assert torch.equal(program.module()(values), module.stack.last(values))


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_nested_settings_of_non_key_frames_are_merged(kind):
    detector = build(faster_rcnn())
    detector.roi_head.test_cfg.nms = dict(type='soft_nms', iou_threshold=0.5, min_score=0.1)
    twin = with_test_cfg(detector, kind(rcnn=kind(nms=kind(iou_threshold=0.4))))
    merged = dict(type='soft_nms', iou_threshold=0.4, min_score=0.1)
    assert twin.roi_head.test_cfg.nms == merged
    assert type(twin.roi_head.test_cfg) is ConfigDict
    other = dict(type='nms', iou_threshold=0.4)
    for _ in range(2):  # the given settings stay as they are
        changes = dict(rcnn=dict(nms=dict(_delete_=True, **other)))
        assert with_test_cfg(detector, changes).roi_head.test_cfg.nms == other
    assert detector.roi_head.test_cfg.nms.iou_threshold == 0.5


@pytest.mark.parametrize(
    'config, settings, heads',
    [
        ('solo/solo_r50_fpn_1x_coco', dict(score_thr=0.3), ['mask_head']),
        (
            'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance',
            dict(mask_thr=0.9),
            ['bbox_head', 'mask_head'],
        ),
        (
            'mask2former/mask2former_r50_8xb2-lsj-50e_coco',
            dict(max_per_image=5),
            ['panoptic_fusion_head'],
        ),
    ],
)
def test_settings_reach_the_heads_that_read_them(config, settings, heads):
    detector = build_stock(config, narrow=True)
    changed = with_test_cfg(detector, settings)
    for head in heads:
        own = getattr(changed, head).test_cfg
        assert {key: own[key] for key in settings} == settings
        assert getattr(detector, head).test_cfg != own
