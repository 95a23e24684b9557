"""Proposals, row by row."""

import pytest
import torch
from mmengine.config import ConfigDict

from semidff.models.rfcn.original_heads import propose
from tests.test_golden.original import arrays, head

STDS = torch.tensor([0.1, 0.1, 0.4, 0.4])


def proposals(scores, deltas, info, settings: dict) -> torch.Tensor:
    """RoIs (R, 4) of probabilities (1, 18, H, W) and de-normalized deltas (1, 36, H, W)."""
    rpn = head('rpn_head')
    height, width = scores.shape[-2:]
    deltas = torch.from_numpy(deltas)[0].permute(1, 2, 0).reshape(-1, 4) / STDS
    anchors = rpn.prior_generator.grid_priors([(height, width)], device='cpu')[0]
    image = tuple(info[0, :2].astype(int).tolist())
    boxes = rpn.bbox_coder.decode(anchors, deltas, image).reshape(height, width, 9, 4)
    foreground = torch.from_numpy(scores[0, 9:]).permute(1, 2, 0)
    cfg = ConfigDict(rpn.test_cfg, **settings)
    return propose(foreground, boxes, image, 16, cfg, float(info[0, 2]))[0]


@pytest.mark.parametrize('case', 'abcd')
def test_operator(case):
    golden = {
        k: arrays('ops_golden.npz')[f'proposal_{case}_{k}']
        for k in ('cls_prob', 'bbox_pred', 'im_info', 'rois', 'params')
    }
    before, after, smallest, threshold = golden['params'].tolist()
    settings = dict(nms_pre=int(before), max_per_img=int(after), min_bbox_size=smallest)
    settings['nms'] = dict(type='nms', iou_threshold=threshold, offset=1)
    rois = proposals(golden['cls_prob'], golden['bbox_pred'], golden['im_info'], settings)
    assert rois.shape == golden['rois'][:, 1:].shape
    assert abs(rois.numpy() - golden['rois'][:, 1:]).max() < 1e-3


@pytest.mark.parametrize('frame', ['key', 'cur'])
def test_stage_of_the_network(frame):
    golden = arrays('net_golden.npz')
    inputs = golden[f'{frame}_rpn_cls_prob'], golden[f'{frame}_rpn_bbox_pred_denorm']
    rois = proposals(*inputs, golden['im_info'], {})
    assert abs(rois.numpy() - golden[f'{frame}_rois'][:, 1:]).max() < 1e-3
    assert len(rois.unique(dim=0)) == dict(key=201, cur=195)[frame]


def few(scores: torch.Tensor, boxes: torch.Tensor, image: tuple, **settings) -> list:
    cfg = dict(nms_pre=9, max_per_img=4, nms=dict(type='nms', iou_threshold=0.7, offset=1))
    cfg = ConfigDict(cfg, **{'min_bbox_size': 0, **settings})
    return propose(scores, boxes, image, 16, cfg)[1].tolist()


def test_border_cells_come_last_but_stay():
    """An image of 40 x 24 pixels has one whole row and two whole columns of cells."""
    scores = torch.tensor([[0.1, 0.2, 0.9], [0.8, 0.7, 0.6]])[..., None]
    boxes = 100.0 * torch.arange(6).reshape(2, 3, 1, 1) + torch.tensor([0.0, 0, 15, 15])
    assert few(scores, boxes, (24, 40)) == pytest.approx([0.2, 0.1, -1, -1])


def test_equal_scores_keep_the_order_of_the_anchors():
    scores = torch.full((2, 3, 1), 0.5)
    boxes = 100.0 * torch.arange(6).reshape(2, 3, 1, 1) + torch.tensor([0.0, 0, 15, 15])
    cfg = ConfigDict(
        nms_pre=6, max_per_img=6, min_bbox_size=0, nms=dict(type='nms', iou_threshold=0.7, offset=1)
    )
    assert torch.equal(propose(scores, boxes, (32, 48), 16, cfg)[0], boxes.reshape(6, 4))


def test_survivors_repeat_in_turn():
    scores = torch.tensor([0.9, 0.8, 0.7]).reshape(1, 3, 1)
    boxes = torch.tensor([[0.0, 0, 15, 15], [0, 0, 15, 15], [40, 0, 55, 15]]).reshape(1, 3, 1, 4)
    # Fewer anchors than rows: as many rows as anchors.
    assert few(scores, boxes, (16, 48)) == pytest.approx([0.9, 0.7, 0.9])
    assert few(scores, boxes, (16, 48), nms_pre=2) == pytest.approx([0.9, 0.9])
