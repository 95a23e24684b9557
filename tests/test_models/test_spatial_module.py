import pytest
import torch
from torch import nn

from semidff.models import SpatialModule
from semidff.models.spatial import feature_stride
from tests.detectors.stock_detectors import build_stock
from tests.models import KINDS, build, frames, samples

ALL = pytest.mark.parametrize('kind', KINDS)


def detector(kind):
    return build(KINDS[kind][0]()).eval()


def by_name(outputs):
    return {output.name: output.values for output in outputs}


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(a.pred_instances[key], b.pred_instances[key])


@ALL
def test_prediction_on_features_is_the_detectors_own(kind):
    own = detector(kind)
    spatial = SpatialModule(own)
    with torch.no_grad():
        expected = own.predict(frames(2), samples(2))
        features = spatial.features(frames(2))
        result = spatial.predict(features, samples(2))
    assert sum(len(r.pred_instances) for r in result) > 0
    assert_same(result, expected)


@ALL
def test_loss_on_features_is_the_detectors_own(kind):
    own = detector(kind)
    spatial = SpatialModule(own)
    results = []
    for compute in (
        lambda: own.loss(frames(2), samples(2, boxes=True)),
        lambda: spatial.loss(spatial.features(frames(2)), samples(2, boxes=True)),
    ):
        torch.manual_seed(0)  # RoIs are sampled
        losses = own.parse_losses(compute())[1]
        results.append({name: float(value) for name, value in losses.items()})
    assert results[0] == results[1]


@ALL
def test_head_outputs_have_a_row_per_anchor_and_roi(kind):
    spatial = SpatialModule(detector(kind))
    with torch.no_grad():
        features = spatial.features(frames(2))
        raw = spatial.raw_outputs(features)
        proposals = spatial.heads.proposals(raw, samples(2))
        heads = by_name(spatial.heads.head_outputs(raw, samples(2), proposals))
    anchors = 2 * 2 * sum(f.shape[-2] * f.shape[-1] for f in features)
    if kind == 'retinanet':
        assert proposals is None
        assert {k: v.shape for k, v in heads.items()} == dict(cls=(anchors, 2), box=(anchors, 4))
        return
    assert list(heads) == ['rpn_cls', 'rpn_box', 'roi_cls', 'roi_box']
    assert heads['rpn_cls'].shape == (anchors, 2 if kind == 'rfcn' else 1)
    assert heads['rpn_box'].shape == (anchors, 4)
    count = sum(len(p) for p in proposals)
    assert count > 4 and heads['roi_cls'].shape == (count, 3)
    # R-FCN's boxes are class-agnostic.
    assert heads['roi_box'].shape == (count if kind == 'rfcn' else 2 * count, 4)


def test_rows_are_in_the_order_of_the_anchors():
    """Row (y * W + x) * A + a of an image, as mmdet's anchors."""
    spatial = SpatialModule(detector('rfcn'))
    with torch.no_grad():
        features = spatial.features(frames(2))
        scores, boxes = spatial.detector.rpn_head(features)
        heads = by_name(spatial.heads.head_outputs(spatial.raw_outputs(features), samples(2), None))
    n, y, x, a = 1, 2, 3, 1
    row = ((n * 4 + y) * 6 + x) * 2 + a
    assert torch.equal(heads['rpn_cls'][row], scores[0][n, 2 * a : 2 * a + 2, y, x])
    assert torch.equal(heads['rpn_box'][row], boxes[0][n, 4 * a : 4 * a + 4, y, x])


@ALL
def test_a_twin_shares_the_feature_network_only(kind):
    spatial = SpatialModule(detector(kind))
    twin = spatial.with_own_task_network()
    for own, other in zip(spatial.feature_network, twin.feature_network, strict=True):
        assert own is other
    assert set(twin.task_network) == set(spatial.task_network)
    for name, module in spatial.task_network.items():
        pairs = zip(module.parameters(), twin.task_network[name].parameters(), strict=True)
        assert all(a is not b and torch.equal(a, b) for a, b in pairs)


def test_extract_feat_is_put_back_after_an_error():
    spatial = SpatialModule(detector('rfcn'))
    with pytest.raises(AttributeError):
        spatial.predict((torch.zeros(1, 32, 4, 6),), [None])
    assert 'extract_feat' not in vars(spatial.detector)
    assert spatial.features(frames(1))[0].shape == (1, 32, 4, 6)


def test_a_detector_without_dense_head_says_so():
    class Queries(nn.Module):
        bbox_head = None

    with pytest.raises(
        TypeError, match='head outputs of Queries. Only the regression loss applies'
    ):
        SpatialModule(Queries()).heads.head_outputs({}, [], None)


@pytest.mark.parametrize(
    ('image', 'level', 'stride'),
    [
        ((600, 1000), (150, 250), 4),
        ((600, 1000), (38, 63), 16),
        ((600, 1000), (19, 32), 32),
        ((600, 1000), (10, 16), 64),
        ((600, 1000), (5, 8), 128),
        ((333, 500), (21, 32), 16),
        ((64, 96), (1, 1), 128),
        ((518, 518), (37, 37), 14),
        ((256, 320), (18, 22), 14),
        ((256, 320), (19, 23), 14),
        ((256, 320), (2, 2), 128),  # NAS-FPN rounds down
        ((608, 1024), (9, 16), 64),
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
