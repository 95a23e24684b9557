"""Several frames on a CPU: mmdet's results, of all frames at once."""

import pytest
import torch
from torch import Tensor, nn

from semidff.models import SpatialModule
from semidff.models.spatial import TwoStageHeads, plain_samples
from tests.detectors.stock_detectors import build_stock, pictures, random_scores
from tests.tiny.models import SIZE, assert_same, build, faster_rcnn, frames, rfcn

FRAMES = 4


def samples(size: tuple[int, int] = SIZE) -> list:
    """Data samples of frames with different padding and resizing."""
    found = plain_samples(FRAMES, size)
    for index, sample in enumerate(found):
        shape = size[0] - 8 * index, size[1] - 4 * index
        sample.set_metainfo(dict(img_shape=shape, scale_factor=(0.7, 1 / (3 + index))))
    return found


def raw_of(spatial: SpatialModule, images: Tensor) -> dict[str, Tensor]:
    return random_scores(spatial.raw_outputs(spatial.features(images)))


def assert_of_mmdet(spatial: SpatialModule, raw: dict[str, Tensor], size: tuple = SIZE) -> list:
    found = spatial.predict_raw(raw, samples(size))
    detector = spatial.heads.detector_on_raw(raw)
    expected = detector.predict(next(iter(raw.values())), samples(size), rescale=True)
    assert_same(found, expected, least=0)
    return [len(sample.pred_instances) for sample in found]


def build_cascade() -> nn.Module:
    return build_stock('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', narrow=True)


@pytest.fixture
def batched(monkeypatch) -> list:
    """Numbers of frames that were processed at once."""
    counts, detect = [], TwoStageHeads.detect_batch

    def counted(*args):
        counts.append(len(args[-1]))
        return detect(*args)

    monkeypatch.setattr(TwoStageHeads, 'detect_batch', counted)
    return counts


@pytest.mark.parametrize('config', [rfcn(), rfcn(box_groups=2), faster_rcnn()])
@torch.no_grad()
def test_results_are_those_of_mmdet(config, batched):
    spatial = SpatialModule(build(config).eval())
    raw = raw_of(spatial, frames(FRAMES))
    assert all(assert_of_mmdet(spatial, raw))
    assert batched == [FRAMES]
    spatial.predict_raw({name: maps[:1] for name, maps in raw.items()}, samples()[:1])
    assert batched == [FRAMES]  # mmdet's is as fast for one frame


@torch.no_grad()
def test_cascade(batched):
    spatial, size = SpatialModule(build_cascade()), (128, 160)
    raw = raw_of(spatial, pictures(size)[0].repeat(2, 1, 1, 1))
    assert all(assert_of_mmdet(spatial, raw, size))
    assert batched == [FRAMES]


@pytest.mark.parametrize('config', [rfcn(), faster_rcnn()])
@torch.no_grad()
def test_frames_without_proposals_and_without_objects(config, batched):
    detector = build(config).eval()
    spatial = SpatialModule(detector)
    raw = raw_of(spatial, frames(FRAMES))
    detector.rpn_head.test_cfg.min_bbox_size = 12
    for empty in ([0, 2], [3], range(FRAMES)):
        changed = {name: maps.clone() for name, maps in raw.items()}
        for name, maps in changed.items():
            if name.startswith(('bbox_preds', 'anchor_deltas')):
                maps[list(empty), 2:] = -9  # small boxes
        counts = assert_of_mmdet(spatial, changed)
        assert [not count for count in counts] == [index in empty for index in range(FRAMES)]
    detector.roi_head.test_cfg.score_thr = 2
    assert assert_of_mmdet(spatial, raw) == [0] * FRAMES
    assert batched == [FRAMES] * 4


@torch.no_grad()
def test_unlimited_and_class_agnostic_results(batched):
    detector = build(rfcn()).eval()
    spatial, cfg = SpatialModule(detector), detector.roi_head.test_cfg
    cfg.max_per_img = -1
    cfg.nms.update(class_agnostic=True, offset=1)
    assert all(assert_of_mmdet(spatial, raw_of(spatial, frames(FRAMES))))
    cfg.nms.update(type='soft_nms')
    cfg.nms.pop('class_agnostic')
    spatial.predict_raw(raw_of(spatial, frames(FRAMES)), samples())
    assert batched == [FRAMES]
