"""Detectors of the DETR kind, cut behind their encoder, and their semantic loss."""

import pytest
import torch
from mmdet.models.detectors import DeformableDETR, MaskFormer
from torch import nn

from semidff.models import FeatureSemantics, SemiDFF, SpatialModule, VideoDetector
from semidff.models.objectives import Distillation
from semidff.models.semi_dff import Teacher
from semidff.models.spatial import plain_samples
from tests.detectors.stock_detectors import LAYERS, QUERIES, build_stock, pictures
from tests.test_models.test_spatial.test_detectors import check_predictions
from tests.tiny.models import build, retinanet

SIZE = 64, 96
FIXED = (
    'detr/detr_r50_8xb2-150e_coco',
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
    'dab_detr/dab-detr_r50_8xb2-50e_coco',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco',
)
SELECTING = (
    'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco',
    'dino/dino-4scale_r50_8xb2-12e_coco',
)
DDQ = 'ddq/ddq-detr-4scale_r50_8xb2-12e_coco'
MASKS = (
    'maskformer/maskformer_r50_ms-16xb1-75e_coco',
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco',
)
SPLIT = dict(type='EncoderSplit')
TEMPORAL = dict(
    type='TemporalModule',
    flow_network=dict(type='FlowNetS', width=1 / 16, stride=8),
    init_std=None,
)


def transformer(name):
    """A narrow stock detector whose results are not all the same."""
    detector = build_stock(name, narrow=True)
    if name in MASKS:
        for part in (detector, detector.panoptic_fusion_head):
            part.test_cfg.update(instance_on=True, panoptic_on=False)
        nn.init.normal_(detector.panoptic_head.cls_embed.weight)
    else:
        for branch in getattr(detector.bbox_head, 'reg_branches', ()):
            nn.init.normal_(branch[-1].weight, std=0.02)  # boxes start at the reference points
    return detector


def padded():
    """Data samples of two frames of different sizes."""
    samples = plain_samples(2, SIZE)
    samples[0].set_metainfo(dict(img_shape=(50, 96)))
    samples[1].set_metainfo(dict(img_shape=(64, 70)))
    return samples


@pytest.mark.parametrize('name', [*FIXED, *SELECTING, DDQ, *MASKS])
def test_predictions_are_the_detectors_own(name):
    detector = transformer(name)
    # The decoder reads positions, too, but for that of Deformable DETR.
    positions = (
        None if isinstance(detector, (DeformableDETR, MaskFormer)) else detector.positional_encoding
    )
    images = pictures(SIZE)[0]
    expected = check_predictions(detector, SPLIT, images, padded(), running=positions)
    first, second = (one.pred_instances for one in expected)
    if name in MASKS:
        assert first.masks.any() or second.masks.any()
    else:
        assert not torch.equal(first.bboxes, second.bboxes)


@pytest.mark.parametrize('split', ['ExtractFeatSplit', 'EncoderSplit'])
@pytest.mark.parametrize('name', [FIXED[0], *SELECTING])
def test_the_semantic_loss_compares_the_outputs_of_all_queries(name, split):
    detector, (images, _) = transformer(name), pictures(SIZE)
    student = SpatialModule(detector, dict(type=split))
    teacher = Teacher(student)
    with torch.no_grad():
        features = student.features(images, padded())
        raw = student.raw_outputs(features)
        proposals = student.heads.proposals(raw, padded())
        outputs = {o.name: o for o in student.heads.head_outputs(raw, padded(), proposals)}
        whole = detector.forward_transformer(detector.extract_feat(images), padded())
        for output, own in zip(detector.bbox_head(**whole), ('cls', 'box'), strict=True):
            assert output.shape[:3] == (LAYERS, 2, QUERIES)
            assert torch.allclose(outputs[own].values, output.flatten(0, 2), atol=1e-5)
    noise = [0.3 * torch.randn_like(level) for level in features]
    moved = [level + other for level, other in zip(features, noise, strict=True)]
    losses = FeatureSemantics()(Distillation(student, teacher, moved, features, padded()))
    encoders = ['enc_cls', 'enc_box'] if name in SELECTING else []
    assert list(losses) == [f'loss_{part}' for part in (*encoders, 'cls', 'box')]
    assert all(loss > 0 for loss in losses.values())
    assert list(outputs) == [*encoders, 'cls', 'box']
    if encoders:
        tokens = 2 * sum(level.shape[-2:].numel() for level in student.features(images))
        assert len(outputs['enc_box'].values) == tokens
        with pytest.raises(
            TypeError, match='proposals_per_image=4: the queries of .* leave it out'
        ):
            FeatureSemantics(proposals_per_image=4)(
                Distillation(student, teacher, moved, features, padded())
            )


@pytest.mark.parametrize('name', [*FIXED, *SELECTING, DDQ])
def test_training_leaves_the_feature_network_as_it_is(name):
    model = SemiDFF(transformer(name), TEMPORAL, SPLIT).train()
    semantic = name != DDQ
    if semantic:
        model.set_objectives([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    else:
        model.set_objectives([dict(type='FeatureRegression')], ('temporal',))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    weights = [p for p in model.parameters() if p.requires_grad]
    images, _ = pictures(SIZE)
    losses = model.loss(torch.stack((images, images.roll(4, -1)), 1), padded())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in weights)
    torch.optim.SGD(weights, lr=0.1).step()
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert any(key.startswith('temporal.') for key in changed)
    assert any(key.startswith('spatial.detector.decoder.') for key in changed) == semantic
    frozen = ('spatial.detector.' + part for part in ('backbone', 'neck', 'encoder', 'level_embed'))
    assert not any(key.startswith((*frozen, 'teacher')) for key in changed)


def test_the_level_embedding_is_trained_with_the_feature_network():
    detector = transformer(SELECTING[1])
    for parts in (('temporal', 'task_network'), ('feature_network',)):
        VideoDetector(detector, TEMPORAL, SPLIT, parts)
        assert detector.level_embed.requires_grad == ('feature_network' in parts)
        detector.requires_grad_(True)
        VideoDetector(detector, TEMPORAL, None, parts)
        assert detector.level_embed.requires_grad == ('task_network' in parts)
        detector.requires_grad_(True)


def test_detectors_and_losses_that_are_refused():
    with pytest.raises(TypeError, match='EncoderSplit cuts .* but RetinaNet with RetinaHead'):
        SpatialModule(build(retinanet()), SPLIT)
    model = SemiDFF(transformer(DDQ), TEMPORAL, SPLIT)
    with pytest.raises(TypeError, match='DDQDETR with DDQDETRHead. Only the regression loss'):
        model.set_objectives([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    model.set_objectives([dict(type='FeatureRegression')], ('temporal',))
