"""Transformers that are cut behind their encoder: outputs of all queries, and what is trained."""

import pytest
import torch
from torch import nn

from semidff.models import SemiDFF, SpatialModule, VideoDetector
from semidff.models.spatial import plain_samples
from tests.detectors.stock_detectors import LAYERS, QUERIES, build_stock, pictures

SIZE = 64, 96
DETR = 'detr/detr_r50_8xb2-150e_coco'
TWO_STAGE = 'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco'
DINO = 'dino/dino-4scale_r50_8xb2-12e_coco'
DDQ = 'ddq/ddq-detr-4scale_r50_8xb2-12e_coco'
SPLIT = dict(type='EncoderSplit')
TEMPORAL = dict(
    type='TemporalModule',
    flow_network=dict(type='FlowNetS', width=1 / 16, stride=8),
    init_std=None,
)


def transformer(name):
    """A narrow stock detector whose results are not all the same."""
    detector = build_stock(name, narrow=True)
    for branch in getattr(detector.bbox_head, 'reg_branches', ()):
        nn.init.normal_(branch[-1].weight, std=0.02)  # boxes start at the reference points
    return detector


def padded():
    """Data samples of two frames of different sizes."""
    samples = plain_samples(2, SIZE)
    samples[0].set_metainfo(dict(img_shape=(50, 96)))
    samples[1].set_metainfo(dict(img_shape=(64, 70)))
    return samples


@pytest.mark.parametrize('split', ['ExtractFeatSplit', 'EncoderSplit'])
@pytest.mark.parametrize('name', [DETR, TWO_STAGE, DINO])
@torch.no_grad()
def test_the_semantic_loss_compares_the_outputs_of_all_queries(name, split):
    detector, (images, _) = transformer(name), pictures(SIZE)
    spatial = SpatialModule(detector, dict(type=split))
    features = spatial.features(images, padded())
    outputs = {o.name: o.values for o in spatial.head_outputs(features, padded())[0]}
    whole = detector.forward_transformer(detector.extract_feat(images), padded())
    for output, own in zip(detector.bbox_head(**whole), ('cls', 'box'), strict=True):
        assert output.shape[:3] == (LAYERS, 2, QUERIES)
        assert torch.allclose(outputs[own], output.flatten(0, 2), atol=1e-5)
    if name != DETR:
        tokens = 2 * sum(level.shape[-2:].numel() for level in features)
        assert len(outputs['enc_box']) == tokens
        with pytest.raises(TypeError):  # they attend to each other
            spatial.head_outputs(features, padded(), limit=4)


@pytest.mark.parametrize('name', [TWO_STAGE, DINO, DDQ])
def test_training_leaves_the_feature_network_as_it_is(name):
    model = SemiDFF(transformer(name), TEMPORAL, SPLIT).train()
    semantic = name != DDQ
    objective = 'FeatureSemantics' if semantic else 'FeatureRegression'
    parts = ('temporal', 'task_network') if semantic else ('temporal',)
    model.set_objectives([dict(type=objective)], parts)
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
    detector = transformer(DINO)
    for parts in (('temporal', 'task_network'), ('feature_network',)):
        VideoDetector(detector, TEMPORAL, SPLIT, parts)
        assert detector.level_embed.requires_grad == ('feature_network' in parts)
        detector.requires_grad_(True)
        VideoDetector(detector, TEMPORAL, None, parts)
        assert detector.level_embed.requires_grad == ('task_network' in parts)
        detector.requires_grad_(True)
