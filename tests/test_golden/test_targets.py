"""Training targets of both heads, and the choice of hard examples."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from semidff.models.rfcn.original_heads import with_true_boxes
from tests.test_golden.original import arrays, head, relative

BACKGROUND = 1
LABELS = {0: BACKGROUND, 1: 0, -1: BACKGROUND}


def golden(name: str) -> np.ndarray:
    return arrays('ops_golden.npz')[name]


def truth(boxes: np.ndarray, rpn: bool = False) -> InstanceData:
    """True boxes from the original's rows (x1, y1, x2, y2, class from 1)."""
    boxes = torch.from_numpy(boxes)
    labels = boxes[:, 4].long() - 1
    return InstanceData(bboxes=boxes[:, :4], labels=labels * 0 if rpn else labels)


@pytest.mark.parametrize('case', ['all', 'none', 'sampled', 'zerogt'])
def test_anchors(case):
    rpn = head('rpn_head')
    rpn.sampler.num = 16 if case == 'sampled' else 10**6
    name = dict(zerogt='rpntarget_gt_zerogt').get(case, 'rpntarget_gt')
    boxes = golden(name)[: 0 if case == 'none' else None]
    image = tuple(golden('rpntarget_im_info')[0, :2].astype(int).tolist())
    meta = dict(img_shape=image, pad_shape=image)
    anchors, flags = rpn.get_anchors([(13, 22)], [meta], 'cpu')
    np.random.seed(101)
    labels, weights, targets, box_weights, _ = rpn.get_targets(
        anchors, flags, [truth(boxes, rpn=True)], [meta]
    )
    check_anchor_targets(labels[0], weights[0], targets[0], box_weights[0], golden, case)


def check_anchor_targets(labels, weights, targets, box_weights, golden, case):
    """Ours are (1, H * W * 9), the original's (1, 9 * H * W) and (1, 36, H, W)."""
    theirs = golden(f'rpntarget_{case}_bbox_target')
    height, width = theirs.shape[-2:]
    label = golden(f'rpntarget_{case}_label').reshape(9, height, width).transpose(1, 2, 0)
    assert np.array_equal(weights.reshape(label.shape).numpy() > 0, label >= 0)
    assert np.array_equal(labels.reshape(label.shape).numpy() == 0, label == 1)
    theirs, given = (
        array[0].reshape(9, 4, height, width).transpose(2, 3, 0, 1)
        for array in (theirs, golden(f'rpntarget_{case}_bbox_weight'))
    )
    assert np.array_equal(box_weights.reshape(given.shape).numpy(), given)
    assert relative(targets.reshape(given.shape) * given, theirs * given) < 1e-6


def test_rois():
    roi_head = head('roi_head')
    boxes = truth(golden('rcnntarget_gt'))
    proposals = InstanceData(bboxes=torch.from_numpy(golden('rcnntarget_rois_in'))[:, 1:])
    rois, labels, targets, weights = roi_targets(roi_head, proposals, boxes)
    assert np.array_equal(rois, golden('rcnntarget_rois')[:, 1:])
    assert np.array_equal(labels, golden('rcnntarget_labels'))
    assert np.array_equal(weights, golden('rcnntarget_weights')[:, 4:])
    assert relative(targets, golden('rcnntarget_targets')[:, 4:]) < 1e-6
    assert not golden('rcnntarget_weights')[:, :4].any()


def roi_targets(roi_head, proposals: InstanceData, boxes: InstanceData) -> list[np.ndarray]:
    """RoIs (R, 4), labels with the original's numbers, box targets and weights (R, 4)."""
    proposals = with_true_boxes(proposals, boxes)
    proposals.priors = proposals.pop('bboxes')
    assigned = roi_head.bbox_assigner.assign(proposals, boxes)
    sampled = roi_head.bbox_sampler.sample(assigned, proposals, boxes)
    labels, label_weights, targets, weights = roi_head.bbox_head.get_targets(
        [sampled], roi_head.train_cfg
    )
    assert (label_weights == 1).all()
    labels = (labels + 1) % (roi_head.bbox_head.num_classes + 1)
    return [t.numpy() for t in (sampled.priors, labels, targets, weights)]


def ohem() -> list[torch.Tensor]:
    """Arguments of the head's loss: 200 RoIs of one image."""
    scores, boxes, labels, targets, weights = (
        torch.from_numpy(golden(f'ohem_{k}'))
        for k in ('cls_score', 'bbox_pred', 'labels', 'bbox_targets', 'bbox_weights')
    )
    rois = torch.zeros(len(labels), 5)
    labels = (labels.long() - 1) % 31
    ones = torch.ones(len(labels))
    return [scores.roll(-1, 1), boxes, rois, labels, ones, targets[:, 4:], weights[:, 4:]]


def test_hard_examples():
    scores, boxes, *others = ohem()
    weights = others[-1]
    chosen = head('roi_head').bbox_head._hardest(scores, boxes[:, 4:], *others)
    kept = golden('ohem_labels_out') >= 0
    assert set(chosen.tolist()) == set(np.flatnonzero(kept).tolist())
    assert np.array_equal(golden('ohem_weights_out')[:, 4:], weights.numpy() * kept[:, None])


def test_roi_losses_are_means_over_hard_examples():
    losses = head('roi_head').bbox_head.loss(*ohem())
    scores, boxes, _, labels, _, targets, weights = ohem()
    kept = torch.from_numpy(golden('ohem_labels_out') >= 0)
    classes = torch.nn.functional.cross_entropy(scores[kept], labels[kept])
    box = torch.nn.functional.smooth_l1_loss(boxes[:, 4:], targets, reduction='none')
    assert torch.allclose(losses['loss_cls'], classes)
    assert torch.allclose(losses['loss_bbox'], (box * weights)[kept].sum() / 128)


def test_each_image_counts_alike():
    """Two images with the same RoIs have the losses of one image."""
    bbox_head = head('roi_head').bbox_head
    one, two = ohem(), [torch.cat((row, row)) for row in ohem()]
    two[2][200:, 0] = 1
    single, double = bbox_head.loss(*one), bbox_head.loss(*two)
    assert torch.allclose(single['loss_cls'], double['loss_cls'])
    assert torch.allclose(single['loss_bbox'], double['loss_bbox'])
    few = bbox_head.loss(*(row[:40] for row in one))
    box = torch.nn.functional.smooth_l1_loss(one[1][:40, 4:], one[5][:40], reduction='none')
    # The box loss is divided by 128 even where there are fewer.
    assert torch.allclose(few['loss_bbox'], (box * one[6][:40]).sum() / 128)
