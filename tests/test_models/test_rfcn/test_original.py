"""R-FCN with the original's conventions: rules worked out by hand, and a tiny network."""

import copy

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import TASK_UTILS

from tests.tiny.models import build, frames, rfcn, samples

OVERLAPS = dict(type='OriginalOverlaps')


def tiny():
    """A tiny R-FCN of the original's parts."""
    config = rfcn(type='OriginalBBoxHead', ohem=8, pooling=dict(type='ExactPSRoIPool'))
    config = copy.deepcopy(config)  # its parts are shared with other tests
    config['roi_head']['bbox_head']['pooling']['spatial_scale'] = 1 / 16
    coder = dict(type='OriginalBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
    config['roi_head']['type'] = 'OriginalRoIHead'
    config['roi_head']['bbox_head']['bbox_coder'] = coder
    config['rpn_head'].update(type='OriginalRPNHead', bbox_coder=coder)
    config['rpn_head']['anchor_generator']['type'] = 'OriginalAnchorGenerator'
    assigner = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, iou_calculator=OVERLAPS)
    train, test = config['train_cfg'], config['test_cfg']
    sampler = dict(train['rpn']['sampler'], type='OriginalAnchorSampler')
    train['rpn'] = dict(
        assigner=dict(assigner, type='OriginalAnchorAssigner'),
        sampler=sampler,
        allowed_border=0,
        pos_weight=-1,
    )
    train['rcnn'] = dict(
        assigner=dict(train['rcnn']['assigner'], iou_calculator=OVERLAPS),
        sampler=dict(type='PseudoSampler'),
        pos_weight=-1,
    )
    train['rpn_proposal'] = test['rpn'] = dict(
        test['rpn'], nms=dict(type='nms', iou_threshold=0.7, offset=1)
    )
    test['rcnn'] = dict(test['rcnn'], nms=dict(type='nms', iou_threshold=0.3, offset=1))
    return build(config)


def test_a_batch_is_the_mean_of_its_images():
    model = tiny().train()
    images, data = frames(2), samples(2, boxes=True)
    data[1].gt_instances = data[1].gt_instances[:1]
    # All anchors count, so nothing depends on chance.
    model.rpn_head.sampler.num = 1000

    def losses(inputs, given):
        found = model.loss(inputs, given)
        return {k: sum(v) if isinstance(v, list) else v for k, v in found.items() if 'loss' in k}

    both = losses(images, data)
    each = [losses(images[i : i + 1], data[i : i + 1]) for i in range(2)]
    for name, value in both.items():
        assert torch.allclose(value, (each[0][name] + each[1][name]) / 2, rtol=1e-4), name


def assign(overlaps: list) -> AssignResult:
    config = dict(type='OriginalAnchorAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3)
    assigner = TASK_UTILS.build(dict(config, iou_calculator=OVERLAPS))
    overlaps = torch.tensor(overlaps, dtype=torch.float64)
    return assigner.assign_wrt_overlaps(overlaps, torch.arange(len(overlaps)))


def test_best_anchors_learn_the_box_that_overlaps_them_most():
    """The third anchor is the second box's best, but overlaps the first more."""
    result = assign([[0.9, 0.5, 0.4, 0.1], [0.0, 0.1, 0.2, 0.2]])
    assert result.gt_inds.tolist() == [1, -1, 1, 2]
    assert result.labels.tolist() == [0, -1, 0, 1]


def test_a_box_that_touches_no_anchor_makes_all_that_miss_it_foreground():
    assert assign([[0.0, 0.0, 0.0]]).gt_inds.tolist() == [1, 1, 1]
    assert assign([[0.0, 0.1, 0.0]]).gt_inds.tolist() == [0, 1, 0]
