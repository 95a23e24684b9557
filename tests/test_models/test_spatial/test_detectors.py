"""What holds for detectors of every kind: predictions, raw outputs, split points and semantic losses."""

import copy

import pytest
import torch
from mmdet.models.dense_heads import TOODHead
from mmengine.config import ConfigDict
from torch import Tensor, nn

from semidff.models import FeatureSemantics, SpatialModule, VideoDetector
from semidff.models.objectives import Distillation
from semidff.models.semi_dff import Teacher
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
from tests.detectors.stock_detectors import STOCK, build_stock
from tests.tiny.models import (
    CLASSES,
    KINDS,
    assert_same,
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

ROI = 'roi_cls roi_box roi_mask'
STAGES = ' '.join(f'roi_cls_{i} roi_box_{i} roi_mask_{i}' for i in range(3))
# Parts of the semantic loss; channels of the maps after the towers and after the dense head.
DETECTORS = {
    'retinanet_r50_fpn_1x': ('cls box', [128] * 5, [9 * 84] * 5),
    'atss_r50_fpn_1x': ('cls box quality', [128] * 5, None),
    'gfl_r50_fpn_1x': ('cls box', [128] * 5, [80 + 4 * 17] * 5),
    'fcos_r50-caffe_fpn_gn-head_1x': ('cls box quality', [128] * 5, [80 + 4 + 1] * 5),
    'vfnet_r50_fpn_1x': ('cls box', [128] * 5, None),
    'tood_r50_fpn_1x': ('cls box', None, [84] * 5),
    'yolof_r50-c5_8xb8-1x': ('cls box', [256], None),
    'reppoints-moment_r50_fpn_1x': ('cls box', None, None),
    'fsaf_r50_fpn_1x': ('cls box', None, None),
    'rtmdet_tiny_8xb32-300e': ('cls box', [96 * 2] * 3, [84] * 3),
    'yolox_tiny_8xb8-300e': ('cls box quality', [96 * 2] * 3, [85] * 3),
    'yolov3_mobilenetv2_8xb24-320-300e': ('cls box quality', None, [3 * 85] * 3),
    'ssd300': ('cls box', None, [n * 85 for n in (4, 6, 6, 6, 4, 4)]),
    'centernet_r18_8xb16-crop512-140e': ('cls box', None, [84]),
    'mask-rcnn_r50_fpn_1x': (f'rpn_cls rpn_box {ROI}', None, [15] * 5 + [64] * 4),
    'cascade-mask-rcnn_r50_fpn_1x': (f'rpn_cls rpn_box {STAGES}', None, None),
    'conditional-detr_r50_8xb2-50e': ('cls box', None, None),
    'deformable-detr_r50_16xb2-50e': ('cls box', None, None),
}
TWO_STAGE = ['mask-rcnn_r50_fpn_1x', 'cascade-mask-rcnn_r50_fpn_1x']
CONFIGS = {case.name: case for case in STOCK}
SPLITS = [
    *((name, 'ExtractFeatSplit', None) for name in DETECTORS),
    *((name, 'TowerSplit', case[1]) for name, case in DETECTORS.items() if case[1]),
    *((name, 'OutputSplit', case[2]) for name, case in DETECTORS.items() if case[2]),
]

STILL = dict(
    type='TemporalModule', flow_network=dict(type='FlowNetS', width=1 / 16, stride=8), init_std=None
)


def stock(name: str) -> tuple[nn.Module, Tensor, list]:
    """A narrow detector, two images and their data samples."""
    case = CONFIGS[name]
    size = case.small
    images = torch.randn((2, 3, *size), generator=torch.Generator().manual_seed(0))
    return build_stock(case.config, narrow=True), images, plain_samples(2, size)


@torch.no_grad()
def check_predictions(
    detector: nn.Module,
    split: dict,
    images: Tensor,
    data: list,
    shapes: list | None = None,
    running: nn.Module | None = None,
    atol: float = 0.0,
) -> list:
    """Key frames, still frames and raw outputs have the detector's own predictions; return them.

    The feature network does not run on non-key frames, but for the module ``running``, and features stay as they are.
    ``shapes`` are those of the features, or their channels. Of what is cut inside the heads, and of raw outputs,
    ``atol`` is allowed.
    """
    model = VideoDetector(detector, STILL, split).eval()
    for weight in model.temporal.flow_network.predict_flow.parameters():
        nn.init.zeros_(weight)
    nn.init.zeros_(model.temporal.scale.weight)
    nn.init.ones_(model.temporal.scale.bias)

    def plain() -> list:
        return [sample.clone() for sample in data]

    expected = detector.predict(images.contiguous(), plain())
    found, key = model.predict_key(images, plain())
    for shape, level in zip(shapes or (), key.features, strict=bool(shapes)):
        assert shape in (level.shape[1], tuple(level.shape[1:]))
    before = [level.clone() for level in key.features]
    for module in model.spatial.feature_network:
        if module is not running:
            module.forward = None
    still = model.predict_non_key(images.roll(8, -1), plain(), key)
    raw = model.spatial.raw_outputs(key.features)
    whole = split['type'] == 'ExtractFeatSplit'
    for results in (found, still):
        assert_same(results, expected, atol=0.0 if whole else atol)
    assert_same(model.spatial.predict_raw(raw, plain()), expected, atol=atol)
    assert all(torch.equal(*levels) for levels in zip(key.features, before, strict=True))
    return expected


@pytest.mark.parametrize(('name', 'split', 'channels'), SPLITS)
def test_predictions_on_maps_are_the_detectors_own(name, split, channels):
    detector, images, data = stock(name)
    if 'yolov3' in name:  # its sigmoid is in place
        images = images.to(memory_format=torch.channels_last)
    # TOOD's and CenterNet's probabilities are converted to logits and back, TOOD's corners to distances.
    atol = 1e-3 if name.startswith(('tood', 'centernet')) else 0.0
    check_predictions(detector, dict(type=split), images, data, channels, atol=atol)


@pytest.mark.parametrize('name', [name for name, case in DETECTORS.items() if case[2]])
@torch.no_grad()
def test_class_maps_hold_the_scores_of_the_classes(name):
    """If the order of the classes is reversed there, so are the labels. SSD's classes exclude each other."""
    detector, images, data = stock(name)
    spatial = SpatialModule(detector, dict(type='OutputSplit'))
    channels, _ = spatial.probe_levels()
    places = spatial.split.class_maps()
    if name.startswith(('ssd', 'yolov3', 'centernet', 'mask')):
        assert places == [None] * len(channels)
        return
    levels = [level[:1].clone() for level in spatial.features(images)]
    for level, (start, anchors, classes) in zip(levels, places, strict=True):
        nn.init.normal_(level[:, start : start + anchors * classes])
    found = spatial.predict(levels, [data[0].clone()])[0].pred_instances
    for level, (start, anchors, classes) in zip(levels, places, strict=True):
        scores = level[:, start : start + anchors * classes].unflatten(1, (anchors, classes))
        level[:, start : start + anchors * classes] = scores.flip(2).flatten(1, 2).clone()
    other = spatial.predict(levels, [data[0].clone()])[0].pred_instances
    count = detector.bbox_head.num_classes
    own, boxes = (
        {
            (count - 1 - k if flipped else k, *box)
            for k, box in zip(one.labels.tolist(), one.bboxes.tolist(), strict=True)
        }
        for one, flipped in ((found, False), (other, True))
    )
    assert len(own & boxes) >= 0.7 * len(own) > 0  # where scores are equal, the order differs


@pytest.mark.parametrize('name', DETECTORS)
def test_semantic_loss(name):
    detector, images, data = stock(name)
    if 'deformable' in name:  # boxes start at the reference points
        nn.init.normal_(detector.bbox_head.reg_branches[-1][-1].weight, std=0.02)
    student = SpatialModule(detector)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        target = student.features(images)
    teacher = Teacher(student)
    same = FeatureSemantics()(Distillation(student, teacher, target, target, data))
    assert ' '.join(same) == ' '.join(f'loss_{part}' for part in DETECTORS[name][0].split())
    # Attention has another kernel where gradients are needed.
    limit = 1e-5 if 'detr' in name else 0
    assert all(abs(loss.item()) <= limit for loss in same.values())
    noisy = [
        level + 0.3 * level.std() * torch.randn(level.shape, generator=generator)
        for level in target
    ]
    losses = FeatureSemantics()(Distillation(student, teacher, noisy, target, data))
    # A divergence between almost equal probabilities is zero up to rounding, and may be slightly negative.
    assert all(loss.isfinite() and abs(loss.item()) > 0 for loss in losses.values())
    sum(losses.values()).backward()
    for part, module in student.task_network.items():
        for weight, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), (part, weight)


@pytest.mark.parametrize('name', TWO_STAGE)
def test_best_proposals_are_those_of_a_detector_with_fewer(name):
    detector, images, data = stock(name)
    student = SpatialModule(detector)
    teacher = Teacher(student)
    with torch.no_grad():
        target = student.features(images)
        batch = Distillation(student, teacher, [2 * level for level in target], target, data)
        every = FeatureSemantics()(batch)
        best = FeatureSemantics(proposals_per_image=4)(batch)
        limit = dict(rpn=dict(max_per_img=4))
        as_non_key = FeatureSemantics()(batch._replace(test_cfg=limit))
        for module in (student, teacher.spatial):
            module.detector.rpn_head.test_cfg.max_per_img = 4
        expected = FeatureSemantics()(batch)
    for losses in (best, as_non_key):
        assert {k: v.item() for k, v in losses.items()} == pytest.approx(
            {k: v.item() for k, v in expected.items()}, rel=1e-4
        )
    assert all(best[name] != every[name] for name in best if 'roi' in name)


def test_no_stage_of_a_cascade_pools_other_proposals(monkeypatch):
    detector, images, data = stock('cascade-mask-rcnn_r50_fpn_1x')
    spatial, head, pooled = SpatialModule(detector), detector.roi_head, []
    forward = head._bbox_forward
    monkeypatch.setattr(
        head, '_bbox_forward', lambda *given: (pooled.append(len(given[2])), forward(*given))[1]
    )
    with torch.no_grad():
        raw = spatial.raw_outputs(spatial.features(images))
        proposals = spatial.heads.proposals(raw, data, limit=4)
    assert pooled == [8, 8] and [len(p.stages) for p in proposals] == [4, 4]


class InheritedTOODHead(TOODHead):
    """A user's head with the outputs of mmdet's."""


@torch.no_grad()
def test_raw_outputs_of_tood_are_relative_to_the_cell():
    detector, images, _ = stock('tood_r50_fpn_1x')
    detector.bbox_head.__class__ = InheritedTOODHead
    spatial = SpatialModule(detector)
    features = spatial.features(images)
    corners = detector.bbox_head(features)[1][0]
    left, _, right, bottom = spatial.raw_outputs(features)['bbox_preds_0'][0].unbind()
    y, x = 3, 5  # cell of stride 8, whose anchor is centered at (x, y) * stride
    assert torch.allclose(left[y, x], x - corners[0, 0, y, x], atol=1e-5)
    assert torch.allclose(bottom[y, x], corners[0, 3, y, x] - y, atol=1e-5)
    assert (left[y, x] + right[y, x]).item() == pytest.approx(
        (corners[0, 2] - corners[0, 0])[y, x].item(), abs=1e-5
    )


@pytest.mark.parametrize(
    ('name', 'output'),
    [
        ('tood_r50_fpn_1x', 'cls_scores'),
        ('centernet_r18_8xb16-crop512-140e', 'center_heatmap_preds'),
    ],
)
@torch.no_grad()
def test_scaled_probabilities_remain_probabilities(name, output):
    """A scale field above 1 would otherwise give scores above 1, and no gradient to the semantic loss."""
    detector, images, data = stock(name)
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
    config = temporal([9 * 84] * 5, [8, 16, 32, 64, 128], with_scale=False)
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
    found = (shifted[inside, None] - after.bboxes).abs().amax(2).min(1).values
    assert inside.sum() > 3 and (found < 1e-2).float().mean() > 0.9


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
    spatial = SpatialModule(build(KINDS[kind][0]()).eval())
    features = spatial.features(frames(2))
    raw = spatial.raw_outputs(features)
    proposals = spatial.heads.proposals(raw, samples(2))
    outputs = spatial.heads.head_outputs(raw, samples(2), proposals)
    shapes = {output.name: tuple(output.values.shape) for output in outputs}
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


@torch.no_grad()
def test_rows_are_in_the_order_of_the_anchors():
    """Row (y * W + x) * A + a of an image, as mmdet's anchors."""
    spatial = SpatialModule(build(KINDS['rfcn'][0]()).eval())
    features = spatial.features(frames(2))
    scores, boxes = spatial.detector.rpn_head(features)
    raw = spatial.raw_outputs(features)
    heads = {o.name: o.values for o in spatial.heads.head_outputs(raw, samples(2), None)}
    n, y, x, a = 1, 2, 3, 1
    row = ((n * 4 + y) * 6 + x) * 2 + a
    assert torch.equal(heads['rpn_cls'][row], scores[0][n, 2 * a : 2 * a + 2, y, x])
    assert torch.equal(heads['rpn_box'][row], boxes[0][n, 4 * a : 4 * a + 4, y, x])


@pytest.mark.parametrize('kind', KINDS)
def test_a_teacher_shares_the_feature_network_and_weights_outside_all_modules(kind):
    detector = build(KINDS[kind][0]())
    detector.level_embed = nn.Parameter(torch.zeros(2))
    spatial = SpatialModule(detector)
    teacher = spatial.with_own_task_network()
    for own, other in zip(spatial.feature_network, teacher.feature_network, strict=True):
        assert own is other
    assert teacher.detector.level_embed is detector.level_embed
    assert set(teacher.task_network) == set(spatial.task_network)
    for name, module in spatial.task_network.items():
        pairs = zip(module.parameters(), teacher.task_network[name].parameters(), strict=True)
        assert all(a is not b and torch.equal(a, b) for a, b in pairs)


# --- families of heads ----------------------------------------------------------------------------------------


def test_the_family_is_that_of_the_highest_priority_in_any_order(monkeypatch):
    detectors = [build(KINDS[kind][0]()) for kind in ('rfcn', 'faster_rcnn', 'retinanet')]
    names = 'cascade-rcnn_r50_fpn_1x', 'tood_r50_fpn_1x', 'detr_r50_8xb2-150e'
    detectors += [stock(name)[0] for name in names]
    expected = [RFCNHeads, TwoStageHeads, DenseHeads, CascadeHeads, TOODHeads, DETRHeads]
    families = dict(HEAD_FAMILIES.module_dict)
    for order in (families, dict(reversed(families.items()))):
        monkeypatch.setattr(HEAD_FAMILIES, '_module_dict', order)
        assert [type(head_family(detector)) for detector in detectors] == expected

    class Own(DenseHeads):
        priority = 3

    monkeypatch.setitem(HEAD_FAMILIES.module_dict, 'Own', Own)
    assert {type(head_family(detector)) for detector in detectors} == {Own}


# --- what is refused ------------------------------------------------------------------------------------------


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
    ('make', 'split', 'message'),
    [
        (yolact, 'TowerSplit', 'cannot be cut ahead of its post-processing|has none of'),
        (yolact, 'OutputSplit', 'cannot be cut ahead of its post-processing'),
        (lambda: stock('detr_r50_8xb2-150e')[0], 'TowerSplit', 'DETR with DETRHead has none'),
        (lambda: stock('detr_r50_8xb2-150e')[0], 'OutputSplit', 'DETR with DETRHead returns'),
        (lambda: build(faster_rcnn()), 'TowerSplit', 'FasterRCNN with RPNHead has none'),
        (lambda: stock('ssd300')[0], 'TowerSplit', 'SSDHead has none'),
        (fovea, 'TowerSplit', 'FoveaHead reads more than the outputs of its towers'),
    ],
)
def test_detectors_without_such_a_split_point(make, split, message):
    with pytest.raises(TypeError, match=message):
        SpatialModule(make(), dict(type=split))


def seesaw(config):
    config['roi_head']['bbox_head']['loss_cls'] = dict(type='SeesawLoss', num_classes=CLASSES)


def other_coder(config):
    config['bbox_head']['bbox_coder'] = dict(type='TBLRBBoxCoder')


@pytest.mark.parametrize(
    ('kind', 'change', 'found'),
    [
        ('faster_rcnn', seesaw, 'Shared2FCBBoxHead with SeesawLoss'),
        ('retinanet', other_coder, 'RetinaNet with RetinaHead'),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused_before_training(kind, change, found):
    config = video_config(kind)
    change(config['detector'])
    model = build(config)
    with pytest.raises(TypeError, match=f'{found}. Only the regression loss applies'):
        model.set_objectives([dict(type='FeatureSemantics')], ['temporal'])
    model.set_objectives([dict(type='FeatureRegression')], ['temporal'])


@pytest.mark.parametrize(
    'make', [yolact, lambda: build_stock('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco', narrow=True)]
)
def test_detectors_that_only_the_regression_loss_can_distill(make):
    spatial = SpatialModule(make())
    with torch.no_grad(), pytest.raises(TypeError, match='FeatureRegression'):
        features = spatial.features(torch.zeros(2, 3, 128, 160))
        data = plain_samples(2, (128, 160))
        FeatureSemantics()(Distillation(spatial, Teacher(spatial), features, features, data))


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


# --- weights that get no gradient -----------------------------------------------------------------------------


def test_weights_without_gradient_are_frozen():
    model = tiny_semi_dff('faster_rcnn')
    model.set_objectives([dict(type='FeatureSemantics', boxes=False)], ('temporal', 'task_network'))
    frozen = {k for k, p in model.spatial.detector.named_parameters() if not p.requires_grad}
    own = {k for k in frozen if 'head' in k}
    boxes = ('rpn_head.rpn_reg', 'roi_head.bbox_head.fc_reg')
    assert own == {f'{name}.{part}' for name in boxes for part in ('weight', 'bias')}
    model.set_objectives([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    assert all(p.requires_grad for p in model.spatial.detector.rpn_head.parameters())


def test_backbones_with_checkpoints_are_distilled():
    """Their memory saving does not admit torch.autograd.grad()."""
    config = video_config(
        split=dict(type='ResNetSplit', task_from='layer4.1'), temporal=temporal(64)
    )
    config['detector']['backbone']['with_cp'] = True
    model = build(config)
    model.set_objectives([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    assert all(p.requires_grad for p in model.temporal.parameters())
    assert all(p.grad is None for p in model.parameters())


# --- strides --------------------------------------------------------------------------------------------------


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
    detector, *_ = stock('retinanet_r50_nasfpn_crop640-50e')
    anchors = detector.bbox_head.prior_generator.strides
    assert SpatialModule(detector).probe_levels()[1] == tuple(stride for stride, _ in anchors)


# --- twins ----------------------------------------------------------------------------------------------------


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
        found = with_test_cfg(of, changes).rpn_head.test_cfg
        return found.max_per_img, found.nms.iou_threshold

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
        assert (
            getattr(changed, head).test_cfg.mask_thr
            == 0.9
            != getattr(detector, head).test_cfg.mask_thr
        )
