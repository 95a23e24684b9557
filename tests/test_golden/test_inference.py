"""Both frames through the video detector, stage by stage and end to end."""

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from semidff.models.rfcn.original_heads import detections
from tests.test_golden.original import (
    arrays,
    config,
    in_original_classes,
    in_original_scores,
    pair,
    relative,
    sample,
)

STAGE, WHOLE = 1e-5, 1e-4
STDS = torch.tensor([0.1, 0.1, 0.2, 0.2]).repeat(2)
FRAMES = pytest.mark.parametrize('frame', ['key', 'cur'])


@pytest.fixture
def detector(model):
    """The network with inference's weights, whose box outputs the golden has de-normalized."""
    conv = model.spatial.detector.roi_head.bbox_head.conv_reg
    stds = STDS.repeat_interleave(49)
    with torch.no_grad():
        conv.weight /= stds[:, None, None, None]
        conv.bias /= stds
    yield model.eval()
    model.train()


def golden(frame: str, name: str) -> torch.Tensor:
    return torch.from_numpy(arrays('net_golden.npz')[f'{frame}_{name}'])


def features(frame: str) -> tuple[torch.Tensor]:
    return (golden(frame, 'conv_feat'),)


@FRAMES
@torch.no_grad()
def test_rpn(detector, frame):
    scores, deltas = (out[0] for out in detector.spatial.detector.rpn_head(features(frame)))
    check_rpn(scores, deltas, frame, STAGE)


def check_rpn(scores: torch.Tensor, deltas: torch.Tensor, frame: str, tolerance: float) -> None:
    maps = in_original_scores(scores)
    assert relative(maps, golden(frame, 'rpn_cls_score')) < tolerance
    probabilities = maps.unflatten(1, (2, 9)).softmax(1).flatten(1, 2)
    assert relative(probabilities, golden(frame, 'rpn_cls_prob')) < tolerance
    assert relative(deltas, golden(frame, 'rpn_bbox_pred_raw')) < tolerance
    stds = torch.tensor([0.1, 0.1, 0.4, 0.4]).repeat(9)[:, None, None]
    assert relative(deltas * stds, golden(frame, 'rpn_bbox_pred_denorm')) < tolerance


@FRAMES
@torch.no_grad()
def test_proposals(detector, frame):
    (rois,) = detector.spatial.detector.rpn_head.predict_by_feat(
        [in_our_scores(golden(frame, 'rpn_cls_score'))],
        [golden(frame, 'rpn_bbox_pred_raw')],
        batch_img_metas=[sample().metainfo],
    )
    assert (rois.bboxes - golden(frame, 'rois')[:, 1:]).abs().max() < 1e-3


def in_our_scores(maps: torch.Tensor) -> torch.Tensor:
    """Foreground and background of each anchor in turn."""
    return maps.unflatten(1, (2, 9)).flip(1).transpose(1, 2).flatten(1, 2)


@FRAMES
@torch.no_grad()
def test_scores_and_boxes(detector, frame):
    head = detector.spatial.detector.roi_head.bbox_head
    logits, deltas = head(*features(frame), golden(frame, 'rois'))
    check_head(logits, deltas, frame, STAGE)


def check_head(logits: torch.Tensor, deltas: torch.Tensor, frame: str, tolerance: float) -> None:
    assert relative(in_original_classes(logits), golden(frame, 'cls_score')) < tolerance
    probabilities = in_original_classes(logits.softmax(1))
    assert relative(probabilities, golden(frame, 'cls_prob')) < tolerance
    assert relative(deltas * STDS, golden(frame, 'bbox_pred')) < tolerance


@FRAMES
@torch.no_grad()
def test_boxes_in_the_original_image(detector, frame):
    head = detector.spatial.detector.roi_head.bbox_head
    (raw,) = head.predict_by_feat(
        [golden(frame, 'rois')],
        [golden(frame, 'cls_score').roll(-1, 1)],
        [golden(frame, 'bbox_pred') / STDS],
        [sample().metainfo],
        rescale=True,
    )
    assert relative(raw.bboxes, golden(frame, 'pred_boxes')[:, 4:]) < STAGE


@FRAMES
def test_detections(frame):
    cfg = config().detector.test_cfg.rcnn
    found = detections(golden(frame, 'pred_boxes')[:, 4:], golden(frame, 'cls_prob')[:, 1:], cfg)
    assert (found.scores.diff() <= 0).all()
    assert unmatched(found, frame) <= 0.01


def unmatched(found: InstanceData, frame: str) -> float:
    """Share of detections that only one side has, at 0.05 pixels and 1e-4 of the score."""
    theirs = golden(frame, 'detections')
    ours = torch.column_stack((found.labels + 1.0, found.bboxes, found.scores))
    tolerance = torch.tensor([0, 0.05, 0.05, 0.05, 0.05, 0])
    tolerance = tolerance + torch.tensor([0, 0, 0, 0, 0, 1e-4]) * theirs[:, None]
    same = ((ours[None] - theirs[:, None]).abs() <= tolerance).all(-1)
    pairs = min(int(same.any(0).sum()), int(same.any(1).sum()))
    return 1 - pairs / max(len(ours), len(theirs))


@FRAMES
@torch.no_grad()
def test_end_to_end(detector, frame):
    key, current = (image[None] for image in pair())
    (result,), state = detector.predict_key(key, [sample()])
    whole = state.features
    if frame == 'cur':
        (result,) = detector.predict_non_key(current, [sample()], state)
        whole = detector.temporal(state.image, detector.temporal.prepare(current), state.features)
    assert relative(whole[0], golden(frame, 'conv_feat')) < WHOLE
    spatial = detector.spatial.detector
    check_rpn(*(out[0] for out in spatial.rpn_head(whole)), frame, WHOLE)
    raw = detector.spatial.raw_outputs(whole)
    (proposals,) = detector.spatial.heads.proposals(raw, [sample()])
    assert (proposals.bboxes - golden(frame, 'rois')[:, 1:]).abs().max() < 1e-3
    check_head(*spatial.roi_head.forward(whole, [proposals]), frame, WHOLE)
    assert unmatched(result.pred_instances, frame) <= 0.01


def test_the_limit_keeps_all_of_equal_scores():
    cfg = ConfigDict(
        score_thr=1e-4, max_per_img=2, nms=dict(type='nms', iou_threshold=0.3, offset=1)
    )
    boxes = 100 * torch.arange(4)[:, None] + torch.tensor([[0.0, 0, 9, 9]])
    scores = torch.tensor([[0.5], [0.2], [0.5], [0.5]])
    found = detections(boxes, scores, cfg)
    assert found.scores.tolist() == [0.5, 0.5, 0.5]
    assert len(detections(boxes, scores * 1e-4, cfg)) == 0
    assert np.isclose(found.bboxes[:, 0].sum(), 500)
