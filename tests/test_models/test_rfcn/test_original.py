"""R-FCN with the original's conventions: rules worked out by hand, and a tiny network made of the parts."""

import copy

import numpy as np
import pytest
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

from semidff.models.rfcn import OriginalAnchorGenerator, OriginalBoxCoder
from tests.models import CLASSES, SIZE, build, frames, rfcn, samples

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


def test_training():
    model = tiny().train()
    np.random.seed(0)
    losses = model.loss(frames(2), samples(2, boxes=True))
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    # The unused group of boxes learns nothing.
    gradient = model.roi_head.bbox_head.conv_reg.weight.grad.unflatten(0, (2, -1))
    assert gradient[1].any() and not gradient[0].any()


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


def test_prediction():
    model = tiny().eval()
    with torch.no_grad():
        features = model.extract_feat(frames(2))
        proposals = model.rpn_head.predict(features, samples(2))
        results = model.predict(frames(2), samples(2))
    height, width = SIZE
    for found, result in zip(proposals, results, strict=True):
        # 24 cells with two anchors each; the number of rows is always the same.
        assert len(found.bboxes) == 20
        boxes = result.pred_instances.bboxes
        assert len(boxes) and result.pred_instances.labels.max() < CLASSES
        limits = torch.tensor([width - 1, height - 1] * 2)
        assert (boxes >= 0).all() and (boxes <= limits).all()
        assert (result.pred_instances.scores.diff() <= 0).all()


def test_sigmoid_is_refused():
    config = rfcn()
    config['rpn_head']['type'] = 'OriginalRPNHead'
    config['rpn_head']['loss_cls'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    with pytest.raises(ValueError, match='use_sigmoid=False'):
        build(config)


def test_anchors():
    """256 / 0.5 = 512 pixels: 23 wide and 12 high, times 8; around the middle of pixels 0 to 15."""
    generator = OriginalAnchorGenerator(strides=[16], ratios=[0.5, 1, 2], scales=[8, 16])
    anchors = generator.base_anchors[0]
    assert anchors[0].tolist() == [-84, -40, 99, 55]
    assert anchors[2].tolist() == [-56, -56, 71, 71]
    sizes = anchors[:, 2:] - anchors[:, :2] + 1
    assert sizes[4:].tolist() == [[88, 176], [176, 352]]


def test_boxes_end_on_their_last_pixel():
    coder = OriginalBoxCoder()
    box = torch.tensor([[10.0, 10, 19, 29]])  # 10 x 20 pixels
    assert torch.equal(coder.decode(box, torch.zeros(1, 8)), box.repeat(1, 2))
    doubled = coder.decode(box, torch.tensor([[0.1, 0, float(np.log(2)), 0]]))
    assert torch.allclose(doubled, torch.tensor([[6.0, 10, 25, 29]]))
    clipped = coder.decode(box, torch.tensor([[-2.0, 5, 0, 0]]), max_shape=(100, 50))
    assert clipped.tolist() == [[0, 99, 0, 99]]


def test_overlaps_of_neighboring_pixels():
    overlaps = TASK_UTILS.build(OVERLAPS)
    boxes = torch.tensor([[0.0, 0, 1, 0], [1, 0, 2, 0], [2, 0, 3, 0]])
    assert overlaps(boxes[:1], boxes).tolist() == [[1, pytest.approx(1 / 3), 0]]


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


def test_sampler_leaves_out_what_numpy_draws():
    config = dict(type='OriginalAnchorSampler', num=6, pos_fraction=0.5, add_gt_as_proposals=False)
    sampler = TASK_UTILS.build(config)
    assigned = torch.tensor([1] * 5 + [0] * 7 + [-1] * 3)
    result = AssignResult(1, assigned, torch.zeros(15), labels=(assigned > 0).long() - 1)
    boxes = InstanceData(bboxes=torch.zeros(1, 4), labels=torch.zeros(1, dtype=torch.long))
    np.random.seed(3)
    sampled = sampler.sample(result, InstanceData(priors=torch.zeros(15, 4)), boxes)
    np.random.seed(3)
    left_out = np.random.choice(np.arange(5), 2, replace=False)
    assert set(sampled.pos_inds.tolist()) == set(range(5)) - set(left_out.tolist())
    left_out = np.random.choice(np.arange(5, 12), 4, replace=False)
    assert set(sampled.neg_inds.tolist()) == set(range(5, 12)) - set(left_out.tolist())
