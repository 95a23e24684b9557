"""Families of heads with mmdet's stock configs, on narrow backbones."""

import pytest
import torch
from mmdet.models.dense_heads import TOODHead, YOLOV3Head
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from torch import nn

from semidff.models import FeatureSemantics, SpatialModule
from semidff.models.objectives import Distillation
from semidff.models.spatial import plain_samples
from tests.models import build, temporal, tiny_semi_dff, video_config

SIZE = (96, 128)
SINGLE_STAGE = {
    'retinanet/retinanet_r50_fpn_1x_coco': 'cls box',
    'atss/atss_r50_fpn_1x_coco': 'cls box quality',
    'gfl/gfl_r50_fpn_1x_coco': 'cls box',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco': 'cls box quality',
    'vfnet/vfnet_r50_fpn_1x_coco': 'cls box',
    'tood/tood_r50_fpn_1x_coco': 'cls box',
    'yolof/yolof_r50-c5_8xb8-1x_coco': 'cls box',
    'reppoints/reppoints-moment_r50_fpn_1x_coco': 'cls box',
    'fsaf/fsaf_r50_fpn_1x_coco': 'cls box',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': 'cls box',
    'yolox/yolox_tiny_8xb8-300e_coco': 'cls box quality',
    'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco': 'cls box quality',
    'centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco': 'cls box',
}
STAGES = ' '.join(f'roi_cls_{i} roi_box_{i} roi_mask_{i}' for i in range(3))
TWO_STAGE = {
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco': 'rpn_cls rpn_box roi_cls roi_box roi_mask',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco': f'rpn_cls rpn_box {STAGES}',
}
QUERIES = {
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco': 'cls box',
    'deformable_detr/deformable-detr-refine_r50_16xb2-50e_coco': 'cls box',
}
REFUSED = [
    'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco',
    'yolact/yolact_r50_1xb8-55e_coco',
]
# Channels of a ResNet-18 of an eighth of the width.
NARROW = {256: 8, 512: 16, 1024: 32, 2048: 64}


def stock(name: str) -> SpatialModule:
    config = get_config(f'mmdet::{name}.py').model
    config.pop('data_preprocessor')
    config.backbone.init_cfg = None
    if config.backbone.type == 'ResNet' and config.backbone.depth == 50:
        config.backbone.update(depth=18, base_channels=8)
        channels = config.neck.in_channels
        if isinstance(channels, int):
            config.neck.in_channels = NARROW[channels]
        else:
            config.neck.in_channels = [NARROW[c] for c in channels]
    if 'rpn' in (config.get('test_cfg') or {}):
        config.test_cfg.rpn.max_per_img = 10
        heads = config.roi_head.bbox_head
        for head in heads if isinstance(heads, list) else [heads]:
            head.fc_out_channels = 16
    init_default_scope('mmdet')
    torch.manual_seed(0)
    detector = MODELS.build(config).eval()
    if hasattr(detector, 'level_embed'):
        torch.nn.init.normal_(detector.level_embed)  # without init_weights it is not initialized
    return SpatialModule(detector)


def samples() -> list[DetDataSample]:
    keys = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    meta = dict.fromkeys(keys, SIZE) | dict(scale_factor=(1.0, 1.0), border=[0] * 4)
    return [DetDataSample(metainfo=meta) for _ in range(2)]


@pytest.mark.parametrize(
    ('name', 'outputs'), [*SINGLE_STAGE.items(), *TWO_STAGE.items(), *QUERIES.items()]
)
def test_stock_detector(name, outputs):
    student = stock(name)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        target = student.features(torch.randn(2, 3, *SIZE, generator=generator))
        own = student.predict(target, samples())
        raw = student.raw_outputs(target)
        result = student.predict_raw({k: v.clone() for k, v in raw.items()}, samples())
    for a, b in zip(result, own, strict=True):
        for key in ('bboxes', 'scores'):
            found, expected = a.pred_instances[key], b.pred_instances[key]
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-3)
    teacher = student.with_own_task_network().requires_grad_(False)
    same = FeatureSemantics()(Distillation(student, teacher, target, target, samples()))
    assert ' '.join(same) == ' '.join(f'loss_{part}' for part in outputs.split())
    # Attention has another kernel where gradients are needed.
    assert all(abs(loss.item()) <= (1e-5 if name in QUERIES else 0) for loss in same.values())
    noisy = [
        level + 0.3 * level.std() * torch.randn(level.shape, generator=generator)
        for level in target
    ]
    losses = FeatureSemantics()(Distillation(student, teacher, noisy, target, samples()))
    # A divergence between almost equal probabilities is zero up to rounding, and may be slightly negative.
    assert all(loss.isfinite() and abs(loss.item()) > 0 for loss in losses.values())
    sum(losses.values()).backward()
    for part, module in student.task_network.items():
        for weight, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), (part, weight)


@pytest.mark.parametrize('name', TWO_STAGE)
def test_best_proposals_are_those_of_a_detector_with_fewer(name):
    student = stock(name)
    teacher = student.with_own_task_network().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        target = student.features(torch.randn(2, 3, *SIZE, generator=generator))
        batch = Distillation(student, teacher, [2 * level for level in target], target, samples())
        every = FeatureSemantics()(batch)
        best = FeatureSemantics(proposals_per_image=4)(batch)
        limit = dict(rpn=dict(max_per_img=4))
        as_non_key = FeatureSemantics()(batch._replace(test_cfg=limit))
        for module in (student, teacher):
            module.detector.rpn_head.test_cfg.max_per_img = 4
        expected = FeatureSemantics()(batch)
    for losses in (best, as_non_key):
        assert {k: v.item() for k, v in losses.items()} == pytest.approx(
            {k: v.item() for k, v in expected.items()}, rel=1e-4
        )
    assert all(best[name] != every[name] for name in best if 'roi' in name)


def test_no_stage_of_a_cascade_pools_other_proposals(monkeypatch):
    spatial, pooled = stock('cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco'), []
    head = spatial.detector.roi_head
    forward = head._bbox_forward
    monkeypatch.setattr(
        head, '_bbox_forward', lambda *given: (pooled.append(len(given[2])), forward(*given))[1]
    )
    with torch.no_grad():
        raw = spatial.raw_outputs(spatial.features(torch.randn(2, 3, *SIZE)))
        proposals = spatial.heads.proposals(raw, samples(), limit=4)
    assert pooled == [8, 8] and [len(p.stages) for p in proposals] == [4, 4]


def test_number_of_proposals_must_be_positive():
    with pytest.raises(ValueError, match='proposals_per_image must be positive, got 0'):
        FeatureSemantics(proposals_per_image=0)


@pytest.mark.parametrize('name', REFUSED)
def test_detectors_without_adapter_are_refused(name):
    spatial = stock(name)
    with torch.no_grad(), pytest.raises(TypeError, match='FeatureRegression'):
        features = spatial.features(torch.zeros(2, 3, *SIZE))
        FeatureSemantics()(Distillation(spatial, spatial, features, features, samples()))


@pytest.mark.parametrize('split', ['TowerSplit', 'OutputSplit'])
@pytest.mark.parametrize(
    'name',
    ['yolact/yolact_r50_1xb8-55e_coco', 'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance'],
)
def test_instance_segmentors_have_the_default_split_point_only(name, split):
    detector = stock(name).detector
    with pytest.raises(TypeError, match='cannot be cut ahead of its post-processing|has none of'):
        SpatialModule(detector, dict(type=split))


@pytest.mark.parametrize(
    'split, message',
    [('TowerSplit', 'DETR with DETRHead has none'), ('OutputSplit', 'DETR with DETRHead returns')],
)
def test_transformers_have_the_default_split_point_only(split, message):
    detector = stock('detr/detr_r50_8xb2-150e_coco').detector
    with pytest.raises(TypeError, match=message):
        SpatialModule(detector, dict(type=split))


def test_boxes_of_detectors_that_find_masks_only():
    spatial = stock('solo/solo_r50_fpn_1x_coco')
    spatial.detector.mask_head.test_cfg.update(score_thr=0.0, filter_thr=0.0)
    torch.manual_seed(0)
    with torch.no_grad():
        features = spatial.features(torch.randn(1, 3, *SIZE))
        (sample,) = spatial.predict(features, plain_samples(1, SIZE))
    found = sample.pred_instances
    assert len(found) and found.bboxes.any()
    for box, mask in zip(found.bboxes.tolist(), found.masks, strict=True):
        if mask.any():
            y, x = mask.nonzero().unbind(1)
            assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_boxes_of_another_coder_are_refused():
    config = video_config('retinanet')
    config['detector']['bbox_head']['bbox_coder'] = dict(type='TBLRBBoxCoder')
    with pytest.raises(TypeError, match='RetinaHead.*FeatureRegression'):
        build(config).enter_step([dict(type='FeatureSemantics')], ('temporal',))


def test_weights_without_gradient_are_frozen():
    model = tiny_semi_dff('faster_rcnn')
    model.enter_step([dict(type='FeatureSemantics', boxes=False)], ('temporal', 'task_network'))
    frozen = {k for k, p in model.spatial.detector.named_parameters() if not p.requires_grad}
    own = {k for k in frozen if 'head' in k}
    boxes = ('rpn_head.rpn_reg', 'roi_head.bbox_head.fc_reg')
    assert own == {f'{name}.{part}' for name in boxes for part in ('weight', 'bias')}
    model.enter_step([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    assert all(p.requires_grad for p in model.spatial.detector.rpn_head.parameters())


def test_backbones_with_checkpoints_are_distilled():
    """Their memory saving does not admit torch.autograd.grad()."""
    config = video_config(
        split=dict(type='ResNetSplit', task_from='layer4.1'), temporal=temporal(64)
    )
    config['detector']['backbone']['with_cp'] = True
    model = build(config)
    model.enter_step([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    assert all(p.requires_grad for p in model.temporal.parameters())
    assert all(p.grad is None for p in model.parameters())


def test_proposals_of_a_detector_without_them_are_refused():
    model = tiny_semi_dff('retinanet')
    with pytest.raises(ValueError, match='proposals_per_image=4: this detector has no proposals'):
        model.enter_step([dict(type='FeatureSemantics', proposals_per_image=4)], ('temporal',))


def test_weights_outside_all_modules_are_shared_and_frozen():
    class Embedding(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = nn.Linear(1, 1), nn.Linear(1, 1)
            self.level_embed = nn.Parameter(torch.zeros(2))

    spatial = SpatialModule(Embedding())
    twin = spatial.with_own_task_network()
    assert twin.detector.level_embed is spatial.detector.level_embed
    assert twin.detector.head.weight is not spatial.detector.head.weight


class InheritedYOLOV3Head(YOLOV3Head):
    """A user's head with the outputs of mmdet's."""


@pytest.mark.parametrize('kind', [YOLOV3Head, InheritedYOLOV3Head])
@torch.no_grad()
def test_predictions_leave_the_propagated_maps_of_yolov3_as_they_are(kind):
    detector = stock('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco').detector
    detector.bbox_head.__class__ = kind
    spatial = SpatialModule(detector, dict(type='OutputSplit'))
    features = spatial.features(torch.randn(2, 3, *SIZE).to(memory_format=torch.channels_last))
    before = [level.clone() for level in features]
    spatial.predict(features, samples())
    assert all(torch.equal(*levels) for levels in zip(features, before, strict=True))


class InheritedTOODHead(TOODHead):
    """A user's head with the outputs of mmdet's."""


@pytest.mark.parametrize('kind', [TOODHead, InheritedTOODHead])
def test_raw_outputs_of_tood_are_relative_to_the_cell(kind):
    detector = stock('tood/tood_r50_fpn_1x_coco').detector
    detector.bbox_head.__class__ = kind
    spatial = SpatialModule(detector)
    head = spatial.detector.bbox_head
    with torch.no_grad():
        features = spatial.features(torch.zeros(1, 3, *SIZE))
        corners = head(features)[1][0]
        left, _, right, bottom = spatial.raw_outputs(features)['bbox_preds_0'][0].unbind()
    y, x = 3, 5  # cell of stride 8, whose anchor is centered at (x, y) * stride
    assert torch.allclose(left[y, x], x - corners[0, 0, y, x], atol=1e-5)
    assert torch.allclose(bottom[y, x], corners[0, 3, y, x] - y, atol=1e-5)
    assert (left[y, x] + right[y, x]).item() == pytest.approx(
        (corners[0, 2] - corners[0, 0])[y, x].item(), abs=1e-5
    )
