"""Raw outputs of a detector, ahead of its post-processing."""

import pytest
import torch
from torch import nn

from semidff.models import SpatialModule
from semidff.models.spatial import ResNetSplit
from semidff.models.spatial.head_family import levels, numbered
from semidff.models.spatial.head_splits import OutputSplit
from tests.models import KINDS, build, frames, samples

NAMES = dict(
    rfcn=['anchor_scores', 'anchor_deltas', 'roi_scores', 'roi_deltas'],
    retinanet=[f'{kind}_{i}' for kind in ('cls_scores', 'bbox_preds') for i in range(3)],
    faster_rcnn=[
        f'{kind}_{i}' for kind in ('cls_scores', 'bbox_preds', 'roi_inputs') for i in range(4)
    ],
)


def spatial_module(kind, split=None):
    return SpatialModule(build(KINDS[kind][0]()).eval(), split)


@pytest.mark.parametrize(
    ('kind', 'split'),
    [
        *((kind, None) for kind in KINDS),
        ('rfcn', OutputSplit()),
        ('rfcn', ResNetSplit('layer4.1')),
    ],
)
@torch.no_grad()
def test_post_processing_of_raw_outputs_is_the_prediction(kind, split):
    spatial = spatial_module(kind, split)
    features = spatial.features(frames(2))
    expected = spatial.predict(features, samples(2))
    raw = spatial.raw_outputs(features)
    assert list(raw) == NAMES[kind]
    # Nothing else is looked at: neither the features nor the layers ahead of the seam.
    for module in spatial.feature_network:
        module.forward = None
    result = spatial.predict_raw({name: maps.clone() for name, maps in raw.items()}, samples(2))
    assert sum(len(r.pred_instances) for r in result) > 0
    for a, b in zip(result, expected, strict=True):
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(a.pred_instances[key], b.pred_instances[key])


@torch.no_grad()
def test_the_prediction_follows_the_raw_outputs_and_the_detector_is_left_as_it_was():
    spatial = spatial_module('retinanet')
    features = spatial.features(frames(1))
    before = spatial.predict(features, samples(1))[0].pred_instances
    raw = spatial.raw_outputs(features)
    nothing = {n: maps - 100 if n.startswith('cls') else maps for n, maps in raw.items()}
    assert len(spatial.predict_raw(nothing, samples(1))[0].pred_instances) == 0
    after = spatial.predict(features, samples(1))[0].pred_instances
    assert len(before) > 0 and torch.equal(before.bboxes, after.bboxes)


def test_a_detector_without_dense_head_is_refused():
    class Headless(nn.Module):
        bbox_head = nn.Linear(1, 1)

    with pytest.raises(TypeError, match='Headless with Linear cannot be cut'):
        SpatialModule(Headless()).raw_outputs(())


def test_levels_are_numbered():
    maps = numbered('a', (torch.zeros(1), torch.ones(1))) | numbered('a_b', (torch.ones(2),))
    assert list(maps) == ['a_0', 'a_1', 'a_b_0']
    assert [level.item() for level in levels('a', maps)] == [0, 1]
    assert levels('other', maps) == ()
