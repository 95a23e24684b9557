"""Families of heads: what the contract of stock detectors does not show."""

import copy

import pytest
import torch
from mmdet.models.dense_heads import TOODHead
from mmengine.config import ConfigDict
from torch import Tensor, nn

from semidff.models import FeatureSemantics, SpatialModule, VideoDetector
from semidff.models.objectives import Distillation, Teacher
from semidff.models.spatial import (
    HEAD_FAMILIES,
    CascadeHeads,
    DenseHeads,
    DETRHeads,
    RFCNHeads,
    TOODHeads,
    TwoStageHeads,
    feature_stride,
    plain_samples,
)
from semidff.models.spatial.head_family import head_family, twin, with_test_cfg
from tests.detectors.stock_detectors import build_stock
from tests.tiny.models import (
    CLASSES,
    KINDS,
    build,
    faster_rcnn,
    fcos,
    frames,
    retinanet,
    samples,
    temporal,
    tiny_semi_dff,
    video_config,
)

SIZE = 128, 160
TOOD = 'tood/tood_r50_fpn_1x_coco'
CASCADE = 'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco'


def stock(config: str) -> tuple[nn.Module, Tensor, list]:
    """A narrow detector, two images and their data samples."""
    images = torch.randn((2, 3, *SIZE), generator=torch.Generator().manual_seed(0))
    return build_stock(config, narrow=True), images, plain_samples(2, SIZE)


@torch.no_grad()
def test_best_proposals_are_those_of_a_detector_with_fewer():
    detector, images, data = stock(CASCADE)
    student = SpatialModule(detector)
    teacher = Teacher(student)
    target = teacher.features(images, data)
    batch = Distillation(student, teacher, [2 * level for level in target], target, data)
    every = FeatureSemantics()(batch)
    best = FeatureSemantics(proposals_per_image=4)(batch)
    as_non_key = FeatureSemantics()(batch._replace(test_cfg=dict(rpn=dict(max_per_img=4))))
    for module in (student, teacher.spatial):
        module.detector.rpn_head.test_cfg.max_per_img = 4
    expected = FeatureSemantics()(batch)
    for losses in (best, as_non_key):
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=0)
    assert all(best[name] != every[name] for name in best if 'roi' in name)


class InheritedTOODHead(TOODHead):
    """A user's head with the outputs of mmdet's."""


@torch.no_grad()
def test_raw_outputs_of_tood_are_relative_to_the_cell():
    detector, images, _ = stock(TOOD)
    detector.bbox_head.__class__ = InheritedTOODHead
    spatial = SpatialModule(detector)
    features = spatial.features(images)
    corners = detector.bbox_head(features)[1][0][0]
    edges = spatial.raw_outputs(features)['bbox_preds_0'][0]
    y, x = 3, 5  # cell of stride 8, whose anchor is centered at (x, y) * stride
    center, sign = torch.tensor([x, y, x, y]), torch.tensor([-1, -1, 1, 1])
    assert torch.allclose(edges[:, y, x], sign * (corners[:, y, x] - center), atol=1e-5)


@pytest.mark.parametrize(
    ('config', 'output'),
    [
        (TOOD, 'cls_scores'),
        ('centernet/centernet_r18_8xb16-crop512-140e_coco', 'center_heatmap_preds'),
    ],
)
@torch.no_grad()
def test_scaled_probabilities_remain_probabilities(config, output):
    """A scale field above 1 would otherwise give scores above 1, and no gradient."""
    detector, images, data = stock(config)
    spatial = SpatialModule(detector, dict(type='OutputSplit'))
    raw = spatial.raw_outputs(spatial.features(images))
    scaled = {key: 30 * maps.abs() if key.startswith(output) else maps for key, maps in raw.items()}
    scores = spatial.predict_raw(scaled, data)[0].pred_instances.scores
    assert len(scores) and scores.min() >= 0 and scores.max() <= 1


@torch.no_grad()
def test_boxes_of_detectors_that_find_masks_only():
    spatial = SpatialModule(build_stock('solo/solo_r50_fpn_1x_coco'))
    spatial.detector.mask_head.test_cfg.update(score_thr=0.0, filter_thr=0.0)
    for convolution in spatial.detector.mask_head.conv_mask_list:
        nn.init.normal_(convolution.weight)
    features = spatial.features(frames(1))
    found = spatial.predict(features, plain_samples(1, (64, 96)))[0].pred_instances
    assert len(found) and found.bboxes.any()
    for box, mask in zip(found.bboxes.tolist(), found.masks, strict=True):
        if mask.any():
            y, x = mask.nonzero().unbind(1)
            assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]


@torch.no_grad()
def test_boxes_move_with_warped_outputs():
    """A shift of the maps by whole cells of all levels moves the boxes by as many pixels."""
    detector = build_stock('retinanet/retinanet_r50_fpn_1x_coco', narrow=True)
    size = 256, 512
    images = torch.randn((1, 3, *size), generator=torch.Generator().manual_seed(0))
    (sample,) = plain_samples(1, size)
    sample.set_metainfo(dict(img_shape=(2000, 2000)))
    config = temporal(with_scale=False)
    model = VideoDetector(detector, config, dict(type='OutputSplit'))
    flow = torch.zeros(1, 2, 16, 32)
    flow[:, 0] = 128 / 16  # what is 128 pixels to the right moves here
    features = model.spatial.features(images)
    moved = model.temporal.propagate(features, flow, None)
    before, after = (
        model.spatial.predict(maps, [sample.clone()])[0].pred_instances
        for maps in (features, moved)
    )
    shifted = before.bboxes - before.bboxes.new_tensor([128, 0, 128, 0])
    inside = shifted[:, 0] > 64
    nearest = (shifted[inside, None] - after.bboxes).abs().amax(2).min(1).values
    assert inside.sum() > 3 and (nearest < 1e-2).float().mean() > 0.9


@pytest.mark.parametrize('kind', KINDS)
def test_losses_on_features_are_the_detectors_own(kind):
    own = build(KINDS[kind][0]()).eval()
    spatial, losses = SpatialModule(own), []
    for compute in (own.loss, lambda images, data: spatial.loss(spatial.features(images), data)):
        torch.manual_seed(0)  # RoIs are sampled
        losses.append(own.parse_losses(compute(frames(2), samples(2, boxes=True)))[1])
    assert losses[0] == losses[1]


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_head_outputs_have_a_row_per_anchor_and_roi(kind):
    """Row (y * W + x) * A + a of an image, as mmdet's anchors."""
    spatial = SpatialModule(build(KINDS[kind][0]()).eval())
    features = spatial.features(frames(2))
    outputs, proposals = spatial.head_outputs(features, samples(2))
    values = {output.name: output.values for output in outputs}
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    anchors = 2 * 2 * sum(f.shape[-2] * f.shape[-1] for f in features)
    if kind == 'retinanet':
        assert proposals is None and shapes == dict(cls=(anchors, 2), box=(anchors, 4))
        return
    count = sum(len(p) for p in proposals)
    assert count > 4 and shapes == dict(
        rpn_cls=(anchors, 2 if kind == 'rfcn' else 1),
        rpn_box=(anchors, 4),
        roi_cls=(count, 3),
        roi_box=(count if kind == 'rfcn' else 2 * count, 4),  # R-FCN's boxes are class-agnostic
    )
    if kind == 'rfcn':
        scores, boxes = spatial.detector.rpn_head(features)
        n, y, x, a = 1, 2, 3, 1
        row = ((n * 4 + y) * 6 + x) * 2 + a
        assert torch.equal(values['rpn_cls'][row], scores[0][n, 2 * a : 2 * a + 2, y, x])
        assert torch.equal(values['rpn_box'][row], boxes[0][n, 4 * a : 4 * a + 4, y, x])


def test_the_family_is_that_of_the_highest_priority_in_any_order(monkeypatch):
    detectors = [build(KINDS[kind][0]()) for kind in ('rfcn', 'faster_rcnn', 'retinanet')]
    configs = CASCADE, TOOD, 'detr/detr_r50_8xb2-150e_coco'
    detectors += [stock(config)[0] for config in configs]
    expected = [RFCNHeads, TwoStageHeads, DenseHeads, CascadeHeads, TOODHeads, DETRHeads]
    families = dict(HEAD_FAMILIES.module_dict)
    for order in (families, dict(reversed(families.items()))):
        monkeypatch.setattr(HEAD_FAMILIES, '_module_dict', order)
        assert [type(head_family(detector)) for detector in detectors] == expected

    class Own(DenseHeads):
        priority = 3

    monkeypatch.setitem(HEAD_FAMILIES.module_dict, 'Own', Own)
    assert {type(head_family(detector)) for detector in detectors} == {Own}


# --- what is refused ------------------------------------------------------------------------------


def yolact():
    return build_stock('yolact/yolact_r50_1xb8-55e_coco', narrow=True)


def fovea():
    """Its towers have layers beside them."""
    head = dict(
        type='FoveaHead',
        num_classes=2,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        strides=[8, 16, 32],
        base_edge_list=[16, 32, 64],
        scale_ranges=((1, 32), (16, 64), (32, 128)),
        with_deform=True,
    )
    return build(dict(retinanet(), type='FOVEA', bbox_head=head, train_cfg=None))


@pytest.mark.parametrize(
    ('make', 'split'), [(yolact, 'TowerSplit'), (yolact, 'OutputSplit'), (fovea, 'TowerSplit')]
)
def test_detectors_without_such_a_split_point(make, split):
    with pytest.raises(TypeError):
        SpatialModule(make(), dict(type=split))


def seesaw(config):
    config['roi_head']['bbox_head']['loss_cls'] = dict(type='SeesawLoss', num_classes=CLASSES)


def other_coder(config):
    config['bbox_head']['bbox_coder'] = dict(type='TBLRBBoxCoder')


@pytest.mark.parametrize(('kind', 'change'), [('faster_rcnn', seesaw), ('retinanet', other_coder)])
def test_outputs_that_cannot_be_compared_are_refused_before_training(kind, change):
    config = video_config(kind)
    change(config['detector'])
    model = build(config)
    with pytest.raises(TypeError):
        model.set_objectives([dict(type='FeatureSemantics')], ['temporal'])
    model.set_objectives([dict(type='FeatureRegression')], ['temporal'])


@pytest.mark.parametrize(
    'make', [yolact, lambda: build_stock('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco', narrow=True)]
)
def test_detectors_that_only_the_regression_loss_can_distill(make):
    spatial = SpatialModule(make())
    teacher, data = Teacher(spatial), plain_samples(2, SIZE)
    features = teacher.features(torch.zeros(2, 3, *SIZE), data)
    with pytest.raises(TypeError, match='FeatureRegression'):
        FeatureSemantics()(Distillation(spatial, teacher, features, features, data))


@pytest.mark.parametrize('normalized', [False, True])
def test_outputs_in_other_units_in_training_are_refused(normalized):
    """In pixels in tests and, with normalized boxes, in strides in training."""
    config = fcos()
    config['bbox_head']['norm_on_bbox'] = normalized
    spatial = SpatialModule(build(config), dict(type='OutputSplit')).train()
    if normalized:
        with pytest.raises(TypeError, match='FCOSHead returns other outputs in training'):
            spatial.features(frames(1))
    else:
        spatial.features(frames(1))


# --- weights that get no gradient -----------------------------------------------------------------


def test_weights_without_gradient_are_frozen():
    model = tiny_semi_dff('faster_rcnn')
    model.set_objectives([dict(type='FeatureSemantics', boxes=False)], ('temporal', 'task_network'))
    heads = {k: p for k, p in model.spatial.detector.named_parameters() if 'head' in k}
    boxes = ('rpn_head.rpn_reg', 'roi_head.bbox_head.fc_reg')
    frozen = {name for name, weight in heads.items() if not weight.requires_grad}
    assert frozen == {f'{name}.{part}' for name in boxes for part in ('weight', 'bias')}
    model.set_objectives([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    assert all(weight.requires_grad for weight in heads.values())


def test_backbones_with_checkpoints_are_distilled():
    """Their memory saving does not admit torch.autograd.grad()."""
    split = dict(type='ResNetSplit', task_from='layer4.1')
    config = video_config(split=split, temporal=temporal(64))
    config['detector']['backbone']['with_cp'] = True
    model = build(config)
    model.set_objectives([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    assert all(p.requires_grad for p in model.temporal.parameters())
    assert all(p.grad is None for p in model.parameters())


# --- strides --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('image', 'level', 'stride'),
    [
        ((600, 1000), (38, 63), 16),
        ((600, 1000), (5, 8), 128),
        ((64, 96), (1, 1), 128),
        ((518, 518), (37, 37), 14),
        ((256, 320), (18, 22), 14),
        ((256, 320), (2, 2), 128),  # NAS-FPN rounds down
        ((512, 640), (6, 8), 512 / 6),  # SSD300, without padding
    ],
)
def test_strides_from_sizes(image, level, stride):
    assert feature_stride(image, level) == stride


def test_strides_are_those_of_the_detectors_own_anchors():
    """NAS-FPN's last level has two cells where others have three."""
    detector = build_stock('nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco', narrow=True)
    anchors = detector.bbox_head.prior_generator.strides
    assert SpatialModule(detector).probe_levels()[1] == tuple(stride for stride, _ in anchors)


# --- twins and their settings ---------------------------------------------------------------------


class Stack(nn.Module):
    """Levels with the same layer, as in RTMDet's head; without them, only the last layer runs."""

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


def test_nested_settings_of_non_key_frames_are_merged():
    detector = build(faster_rcnn())
    detector.roi_head.test_cfg.nms = dict(type='soft_nms', iou_threshold=0.5, min_score=0.1)
    changed = with_test_cfg(detector, ConfigDict(rcnn=dict(nms=dict(iou_threshold=0.4))))
    merged = dict(type='soft_nms', iou_threshold=0.4, min_score=0.1)
    assert changed.roi_head.test_cfg.nms == merged
    other = dict(type='nms', iou_threshold=0.4)
    for _ in range(2):  # the given settings stay as they are
        changes = dict(rcnn=dict(nms=dict(_delete_=True, **other)))
        assert with_test_cfg(detector, changes).roi_head.test_cfg.nms == other
    assert detector.roi_head.test_cfg.nms.iou_threshold == 0.5


def test_merged_settings_follow_changes_of_one_detector():
    detector, changes = build(faster_rcnn()), dict(rpn=dict(max_per_img=5))

    def settings(of):
        test_cfg = with_test_cfg(of, changes).rpn_head.test_cfg
        return test_cfg.max_per_img, test_cfg.nms.iou_threshold

    assert settings(detector) == (5, 0.7)
    copied = copy.deepcopy(detector)
    detector.rpn_head.test_cfg.nms.iou_threshold = 0.4
    assert (settings(detector), settings(copied)) == ((5, 0.4), (5, 0.7))
    changes['rpn']['max_per_img'] = 6
    assert (settings(detector), settings(copied)) == ((6, 0.4), (6, 0.7))


def test_settings_reach_the_heads_that_read_them():
    detector = build_stock('condinst/condinst_r50_fpn_ms-poly-90k_coco_instance', narrow=True)
    changed = with_test_cfg(detector, dict(mask_thr=0.9))
    for head in ('bbox_head', 'mask_head'):
        assert getattr(changed, head).test_cfg.mask_thr == 0.9
        assert getattr(detector, head).test_cfg.mask_thr != 0.9
