from functools import partial

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RPNHead
from mmengine.config import ConfigDict

from tests.tiny.models import CLASSES, build, frames, rfcn, samples, tiny_rfcn

POOLINGS = ['PSRoIAlign', 'ExactPSRoIPool']


def pooling(name):
    extra = dict(sampling_ratio=2) if name == 'PSRoIAlign' else {}
    return dict(type=name, spatial_scale=1 / 16, **extra)


def rois(count=10, images=2):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand((count, 2), generator=generator) * torch.tensor([60, 40])
    size = 8 + torch.rand((count, 2), generator=generator) * 24
    image = torch.arange(count).remainder(images)[:, None].float()
    return torch.cat((image, corner, corner + size), dim=1)


@pytest.mark.parametrize('name', POOLINGS)
def test_losses_have_gradients_in_every_part(name):
    model = tiny_rfcn(pooling=pooling(name)).train()
    losses = model.loss(frames(2), samples(2, boxes=True))
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'} <= set(losses)
    total, _ = model.parse_losses(losses)
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert model.roi_head.bbox_head.conv_reg.weight.grad.any()
    assert model.neck.conv.weight.grad.any()


@pytest.mark.parametrize('sigmoid', [False, True])
@pytest.mark.parametrize('nms_pre', [1, 7, 40, 10_000])
def test_proposals_are_those_of_mmdet(sigmoid, nms_pre):
    """mmdet's head sorts the scores of all anchors; R-FCN's selects the best ones."""
    config = rfcn()['rpn_head']
    head = build(dict(config, loss_cls=dict(config['loss_cls'], use_sigmoid=sigmoid)))
    anchors = head.num_base_priors
    scores = [torch.randn(2, anchors * head.cls_out_channels, 4, 6)]
    deltas = [0.3 * torch.randn(2, anchors * 4, 4, 6)]
    cfg = ConfigDict(
        nms_pre=nms_pre, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0
    )
    given = dict(batch_img_metas=[dict(img_shape=(64, 96))] * 2, cfg=cfg)
    found = head.predict_by_feat(scores, deltas, **given)
    head._predict_by_feat_single = partial(RPNHead._predict_by_feat_single, head)
    expected = head.predict_by_feat(scores, deltas, **given)
    for one, other in zip(found, expected, strict=True):
        assert len(one) and torch.equal(one.bboxes, other.bboxes)
        assert torch.equal(one.scores, other.scores)


def test_first_channels_are_the_rpns_and_last_ones_the_heads():
    model = tiny_rfcn()
    features = torch.randn(2, 32, 4, 6, requires_grad=True)
    dense = model.rpn_head((features,))
    sum(out.square().sum() for level in dense for out in level).backward()
    assert features.grad[:, :16].any() and not features.grad[:, 16:].any()
    features.grad = None
    logits, deltas = model.roi_head.bbox_head(features, rois())
    (logits.square().sum() + deltas.square().sum()).backward()
    assert features.grad[:, 16:].any() and not features.grad[:, :16].any()


def test_vote_is_the_mean_of_the_bins():
    head = tiny_rfcn(pooling=pooling('ExactPSRoIPool')).roi_head.bbox_head
    with torch.no_grad():
        # Channel c of the score maps says c everywhere.
        head.conv_cls.weight.zero_()
        head.conv_cls.bias.copy_(torch.arange((CLASSES + 1) * 9).float())
        logits, _ = head(torch.randn(1, 32, 4, 6), torch.tensor([[0.0, 0, 0, 95, 63]]))
    assert torch.allclose(logits, torch.tensor([[4.0, 13.0, 22.0]]))


@pytest.mark.parametrize('box_groups', [1, 2])
def test_only_the_last_group_of_boxes_is_decoded_and_trained(box_groups):
    head = tiny_rfcn(box_groups=box_groups).roi_head.bbox_head
    deltas = torch.randn(6, 4 * box_groups, requires_grad=True)
    targets = torch.randn(6, 4)
    losses = head.loss(
        torch.zeros(6, 3),
        deltas,
        rois(6),
        torch.tensor([0, 1, 2, 0, 1, 2]),
        torch.ones(6),
        targets,
        torch.ones(6, 4),
    )
    losses['loss_bbox'].backward()
    assert deltas.grad[:, -4:].any() and not deltas.grad[:, :-4].any()
    # Class 2 is background.
    assert not deltas.grad[[2, 5]].any()


def test_ohem_takes_the_hardest_of_each_image():
    head = tiny_rfcn(ohem=3).roi_head.bbox_head
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn((16, 3), generator=generator)
    logits.requires_grad_()
    labels = torch.randint(0, 3, (16,), generator=generator)
    deltas = torch.randn((16, 4), generator=generator)
    box_targets = torch.randn((16, 4), generator=generator)
    weights = (labels < 2).float()[:, None].expand(16, 4)
    regions = rois(16)
    losses = head.loss(logits, deltas, regions, labels, torch.ones(16), box_targets, weights)

    hardness = F.cross_entropy(logits, labels, reduction='none')
    hardness = hardness + (F.smooth_l1_loss(deltas, box_targets, reduction='none') * weights).sum(1)
    chosen = []
    for image in (0, 1):
        own = [i for i in range(16) if regions[i, 0] == image]
        chosen += sorted(own, key=lambda i: -hardness[i].item())[:3]
    expected = F.cross_entropy(logits[chosen], labels[chosen])
    assert torch.allclose(losses['loss_cls'], expected)
    losses['loss_cls'].backward()
    assert set(logits.grad.any(1).nonzero()[:, 0].tolist()) == set(chosen)
