"""Post-processing of fixed shape: mmdet's results, and flags where they are not exact."""

import pytest
import torch
from mmcv.ops import batched_nms
from mmdet.models.dense_heads import RetinaHead
from torch import Tensor

from semidff.models import SpatialModule
from semidff.models.spatial import plain_samples
from semidff.models.spatial.fixed_shape import Candidates, detections
from tests.detectors.stock_detectors import build_stock, pictures, random_scores, sorted_rows
from tests.tiny.models import SIZE, build, faster_rcnn, fcos, frames, retinanet, rfcn

NMS = dict(type='nms', iou_threshold=0.5)
SCALE = 0.7, 1 / 3
GEOMETRY = torch.tensor([[*SIZE, *SCALE]] * 2, dtype=torch.float64)


def crowd(count: int, classes: int, seed: int, spread: float = 60.0) -> Candidates:
    """Overlapping boxes with different scores around a few places, some of them not valid."""
    random = torch.Generator().manual_seed(seed)
    low = spread * torch.rand(1, count, 2, generator=random).round(decimals=1)
    size = 20 + 20 * torch.rand(1, count, 2, generator=random)
    scores = torch.randperm(count, generator=random)[None] / count
    labels = torch.randint(classes, (1, count), generator=random)
    valid = torch.rand(1, count, generator=random) < 0.9
    return Candidates(torch.cat((low, low + size), 2), scores, labels, valid)


def of_mmcv(found: Candidates, nms: dict, most: int) -> Tensor:
    """Box, score and label of each result (K, 6)."""
    boxes, scores, labels = (column[0][found.valid[0]] for column in found[:3])
    best, kept = batched_nms(boxes, scores, labels, nms)
    return torch.cat((best, labels[kept, None]), 1)[: most or None]


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('nms', [NMS, NMS | dict(class_agnostic=True), NMS | dict(offset=1)])
@pytest.mark.parametrize(('classes', 'most'), [(1, 20), (3, 50), (3, 0)])
def test_suppression_is_that_of_mmcv(seed, nms, classes, most):
    found = crowd(400, classes, seed)
    table = detections(found, nms, most)[0]
    assert table[-1, 0] == 1
    assert torch.equal(table[:-1][table[:-1, 6] > 0][:, :6], of_mmcv(found, nms, most))


@pytest.mark.parametrize(('spread', 'exact'), [(2000.0, True), (20.0, False)])
def test_best_of_too_many_candidates(spread, exact):
    """More than are compared: exact if as many as are asked for are better than those left out."""
    found = crowd(2000, 1, 0, spread)
    table = detections(found, NMS, 100)[0]
    assert table[-1, 0] == exact
    if exact:
        assert torch.equal(table[:-1, :6], of_mmcv(found, NMS, 100))


def test_all_of_too_many_candidates_are_not_exact():
    assert detections(crowd(2000, 1, 0, 1e4), NMS, 0)[0, -1, 0] == 0


@pytest.mark.parametrize(('count', 'exact'), [(10, True), (100, False)])
def test_long_chain_of_suppressions(count, exact):
    """Each box overlaps the next one only."""
    low = 4.0 * torch.arange(count)[None, :, None].expand(1, count, 2) * torch.tensor([1.0, 0.0])
    labels = torch.zeros(1, count, dtype=torch.long)
    scores = 1 - torch.arange(count)[None] / count
    found = Candidates(torch.cat((low, low + 10), 2), scores, labels, labels == 0)
    assert detections(found, NMS | dict(iou_threshold=0.4), 50)[0, -1, 0] == exact


def raw_of(spatial: SpatialModule) -> dict[str, Tensor]:
    return random_scores(spatial.raw_outputs(spatial.features(frames(2))))


def samples() -> list:
    found = plain_samples(2, SIZE)
    for sample in found:
        sample.set_metainfo(dict(scale_factor=SCALE))
    return found


def assert_same(found: list, expected: list):
    for one, other in zip(found, expected, strict=True):
        one, other = sorted_rows(one.pred_instances), sorted_rows(other.pred_instances)
        assert len(other) and one.shape == other.shape
        assert torch.allclose(one, other, rtol=0, atol=1e-5)


# With pooling from whole cells, boxes would have equal scores.
POOLING = dict(type='PSRoIAlign', spatial_scale=1 / 16, sampling_ratio=2)
KINDS = dict(
    retinanet=retinanet(), fcos=fcos(), faster_rcnn=faster_rcnn(), rfcn=rfcn(pooling=POOLING)
)


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_results_are_those_of_mmdet(kind):
    spatial = SpatialModule(build(KINDS[kind]).eval())
    raw = raw_of(spatial)
    fixed = spatial.fixed_shape(raw, GEOMETRY)
    assert fixed[:, -1, 0].all()
    assert_same(spatial.finish(fixed, raw, samples()), spatial.predict_raw(raw, samples()))


@torch.no_grad()
def test_transformers_mask_padding():
    """Only mmdet's post-processing knows which part of a frame is padding."""
    size = 128, 160
    detector = build_stock('conditional_detr/conditional-detr_r50_8xb2-50e_coco', narrow=True)
    spatial, padded = SpatialModule(detector), plain_samples(2, size)
    padded[1].set_metainfo(dict(img_shape=(size[0] - 32, size[1])))
    raw = spatial.raw_outputs(spatial.features(pictures(size)[0]))
    geometry = torch.tensor([[*sample.img_shape, 1, 1] for sample in padded])
    fixed = spatial.fixed_shape(raw, geometry)
    found = spatial.finish(fixed, raw, [sample.clone() for sample in padded])
    alone = {name: maps[1:] for name, maps in raw.items()}
    assert_same(found[1:], spatial.predict_raw(alone, padded[1:]))


@torch.no_grad()
def test_test_settings_are_used():
    spatial = SpatialModule(build(faster_rcnn()).eval())
    raw = raw_of(spatial)
    changes = dict(rpn=dict(max_per_img=3), rcnn=dict(max_per_img=5))
    fixed = spatial.fixed_shape(raw, GEOMETRY, changes)
    assert fixed.shape == (2, 6, 7)
    found = spatial.finish(fixed, raw, samples(), changes)
    assert_same(found, spatial.predict_raw(raw, samples(), changes))


@torch.no_grad()
def test_frames_that_are_not_exact_get_the_results_of_mmdet():
    spatial = SpatialModule(build(retinanet()).eval())
    raw = raw_of(spatial)
    fixed = spatial.fixed_shape(raw, GEOMETRY)
    fixed[1] = 0
    assert_same(spatial.finish(fixed, raw, samples()), spatial.predict_raw(raw, samples()))


class OtherHead(RetinaHead):
    """A head with a post-processing of its own."""

    def _bbox_post_process(self, *args, **kwargs):
        return super()._bbox_post_process(*args, **kwargs)


@torch.no_grad()
def test_post_processing_that_is_not_known():
    detector = build(retinanet()).eval()
    spatial = SpatialModule(detector)
    raw = raw_of(spatial)
    assert spatial.fixed_shape(raw, GEOMETRY, dict(nms=dict(type='soft_nms'))) is None
    assert spatial.fixed_shape(raw, GEOMETRY, dict(nms=dict(max_num=10))) is None
    detector.bbox_head.__class__ = OtherHead
    assert spatial.fixed_shape(raw, GEOMETRY) is None
