"""The contract *detector*: what holds for stock detectors at each of their split points.

The normal suite checks the kinds of heads; ``DETECTORS=all`` checks all stock detectors, also
trained ones, their graphs on the simulated GPU, and ONNX. Detectors are narrow. ``DEVICE`` is where
they run.
"""

import os
import re
from contextlib import suppress
from typing import NamedTuple

import pytest
import torch
from mmdet.models.detectors import DeformableDETR, DetectionTransformer
from torch import Tensor, nn

from semidff.deployment.export import ExportError, export_onnx
from semidff.inference.acceleration import Acceleration, accelerate
from semidff.models import FeatureSemantics, SemiDFF, SpatialModule, VideoDetector
from semidff.models.objectives import Distillation, Teacher
from semidff.models.spatial import plain_samples
from tests.tiny.models import assert_same

from . import graph_path
from .loss_parts import check_balance
from .stock_detectors import (
    STOCK,
    StockDetector,
    build_stock,
    fit_statistics,
    overfit,
    random_scores,
    sorted_rows,
)
from .video_detectors import SPLITS, video_detector

DEVICE = os.environ.get('DEVICE', 'cpu')
ALL = os.environ.get('DETECTORS') == 'all'
STILL = dict(
    type='TemporalModule', flow_network=dict(type='FlowNetS', width=1 / 16, stride=8), init_std=None
)
OPTIONS = (
    (Acceleration(channels_last=True), 1e-3),
    (Acceleration('bf16'), 0.1),
    (Acceleration('fp16'), 0.05),
)
"""Speed options, and the largest relative deviation from float32 with random weights."""

STARTS_AT_ZERO = re.compile(r'conv_offset|reg_branches\.\d+\.4|fc_reg\.layers\.2')
"""Weights that are random here: deformed cells, and boxes beside reference points."""

UNUSED = re.compile(r'^center_prior|^label_embedding')
"""Weights of N_task that only mmdet's own losses use."""


class Case(NamedTuple):
    """A stock detector with two images (2, 3, H, W), whose data samples say what is padded."""

    stock: StockDetector
    images: Tensor
    samples: list

    def build(self) -> nn.Module:
        detector = build_stock(self.stock.config, narrow=True)
        torch.manual_seed(0)
        for name, weight in detector.named_parameters():
            if STARTS_AT_ZERO.search(name):
                nn.init.normal_(weight, std=0.02)
            elif 'cls_embed' in name:
                nn.init.normal_(weight)
            elif 'rtm_reg' in name and name.endswith('bias'):  # negative distances are no boxes
                nn.init.ones_(weight)
        if 'ssdlite' in self.stock.config:  # its signals vanish
            fit_statistics(detector, self.stock.small, 2)
        return detector.to(DEVICE)

    def plain(self) -> list:
        return [sample.clone() for sample in self.samples]


@pytest.fixture(scope='module', params=[s for s in STOCK if s.suite or ALL], ids=lambda s: s.name)
def case(request):
    stock = request.param
    images = torch.randn((2, 3, *stock.small), generator=torch.Generator().manual_seed(0))
    if 'yolov3' in stock.config:  # its sigmoid is in place
        images = images.to(memory_format=torch.channels_last)
    samples = plain_samples(2, stock.small)
    if stock.encoder:  # which masks padding
        height, width = stock.small
        samples[0].set_metainfo(dict(img_shape=(height - 14, width)))
        samples[1].set_metainfo(dict(img_shape=(height, width - 26)))
    return Case(stock, images.to(DEVICE), samples)


@torch.no_grad()
def check_predictions(
    detector: nn.Module,
    split: dict,
    images: Tensor,
    samples: list,
    shapes: list | tuple = (),
    atol: float = 0.0,
) -> None:
    """Key frames, still frames and raw outputs have the detector's own predictions.

    The feature network does not run on non-key frames, and features stay as they are.

    Args:
        shapes: Shapes of the features, or their channels; () if not checked.
        atol: Tolerance for what is cut inside the heads, and for raw outputs.
    """
    model = VideoDetector(detector, STILL, split).to(images.device).eval()
    for weight in model.temporal.flow_network.predict_flow.parameters():
        nn.init.zeros_(weight)

    def plain() -> list:
        return [sample.clone() for sample in samples]

    expected = detector.predict(images.contiguous(), plain())
    found, key = model.predict_key(images, plain())
    for shape, level in zip(shapes, key.features, strict=bool(len(shapes))):
        assert shape in (level.shape[1], tuple(level.shape[1:]))
    before = [level.clone() for level in key.features]
    for module in model.spatial.feature_network:
        # The decoder reads positions, too, but for that of Deformable DETR.
        reads = isinstance(detector, DetectionTransformer) and not isinstance(
            detector, DeformableDETR
        )
        if not (reads and module is detector.positional_encoding):
            module.forward = None
    still = model.predict_non_key(images.roll(8, -1), plain(), key)
    raw = expected
    if not hasattr(detector, 'panoptic_head') or split['type'] == 'EncoderSplit':
        raw = model.spatial.predict_raw(model.spatial.raw_outputs(key.features), plain())
    whole = split['type'] == 'ExtractFeatSplit'
    for results in (found, still):
        assert_same(results, expected, atol=0.0 if whole else atol)
    assert_same(raw, expected, atol=atol)
    assert all(torch.equal(*levels) for levels in zip(key.features, before, strict=True))


@pytest.mark.parametrize('split', SPLITS)
def test_predictions_on_maps_are_the_detectors_own(case, split):
    if split not in case.stock.splits:
        with pytest.raises(TypeError):
            SpatialModule(case.build(), dict(type=split))
        return
    # TOOD's and CenterNet's probabilities are converted to logits and back.
    converted = case.stock.name.startswith(('tood', 'centernet'))
    channels, atol = case.stock.splits[split], 1e-3 if converted else 0.0
    check_predictions(
        case.build(), dict(type=split), case.images, case.samples, channels, atol=atol
    )


@torch.no_grad()
def test_class_maps_hold_the_scores_of_the_classes(case):
    """If the order of the classes is reversed there, so are the labels.

    Detectors whose classes exclude each other, or have an objectness, have no class maps.
    """
    if not case.stock.outputs:
        return
    spatial = SpatialModule(case.build(), dict(type='OutputSplit'))
    channels, _ = spatial.probe_levels()
    places = spatial.split.class_maps()
    head = spatial.heads.dense_head
    if (
        not hasattr(head, 'use_sigmoid_cls')
        or not head.use_sigmoid_cls
        or head.cls_out_channels < 2
    ):
        assert places == [None] * len(channels)
        return
    levels = [level[:1].clone() for level in spatial.features(case.images)]
    for level, (start, anchors, classes) in zip(levels, places, strict=True):
        nn.init.normal_(level[:, start : start + anchors * classes])
    found = spatial.predict(levels, case.plain()[:1])[0].pred_instances
    for level, (start, anchors, classes) in zip(levels, places, strict=True):
        scores = level[:, start : start + anchors * classes].unflatten(1, (anchors, classes))
        level[:, start : start + anchors * classes] = scores.flip(2).flatten(1, 2).clone()
    other = spatial.predict(levels, case.plain()[:1])[0].pred_instances
    other.labels = head.num_classes - 1 - other.labels
    own, flipped = (
        {(k, *box) for k, box in zip(one.labels.tolist(), one.bboxes.tolist(), strict=True)}
        for one in (found, other)
    )
    assert len(own & flipped) >= 0.7 * len(own) > 0  # where scores are equal, the order differs


def test_semantic_loss(case):
    """It has the table's parts, is zero for equal features, and trains all of N_task."""
    student = SpatialModule(case.build())
    teacher = Teacher(student)
    target = teacher.features(case.images, case.samples)

    def losses(propagated: list) -> dict[str, Tensor]:
        batch = Distillation(student, teacher, propagated, target, case.samples)
        return FeatureSemantics()(batch)

    if not case.stock.losses:
        with pytest.raises((TypeError, NotImplementedError)):
            losses(target)
        return
    same = losses(target)
    assert ' '.join(name.removeprefix('loss_') for name in same) == case.stock.losses
    # Attention has another kernel where gradients are needed.
    limit = 1e-5 if case.stock.encoder else 0
    assert all(abs(loss.item()) <= limit for loss in same.values())
    torch.manual_seed(0)
    noisy = losses([level + 0.3 * level.std() * torch.randn_like(level) for level in target])
    # A divergence between almost equal probabilities is zero up to rounding: slightly negative.
    assert all(loss.isfinite() and abs(loss.item()) > 0 for loss in noisy.values())
    sum(noisy.values()).backward()
    weights = {
        f'{part}.{name}': weight
        for part, module in student.task_network.items()
        for name, weight in module.named_parameters()
        if weight.requires_grad and not UNUSED.search(name)
    }
    assert {name for name, weight in weights.items() if weight.grad is None} == set()
    assert all(weight.grad.isfinite().all() for weight in weights.values())


@torch.no_grad()
def test_fixed_shape(case):
    """The post-processing of fixed shape is mmdet's, on the same raw outputs."""
    spatial, size = SpatialModule(case.build()), case.stock.small
    samples = plain_samples(2, size)
    with suppress(TypeError):  # no raw outputs
        raw = random_scores(spatial.raw_outputs(spatial.features(case.images, samples)))
        geometry = torch.tensor([[*size, 1, 1]] * 2, dtype=torch.float64, device=DEVICE)
        fixed = spatial.fixed_shape(raw, geometry)
        assert (fixed is not None) == case.stock.fixed
        if fixed is not None:
            expected = spatial.predict_raw(raw, [sample.clone() for sample in samples])
            found = spatial.finish(fixed.cpu(), raw, samples)
            found, expected = (
                [sorted_rows(sample.pred_instances) for sample in each]
                for each in (found, expected)
            )
            assert fixed[:, -1, 0].all() and any(map(len, expected))
            assert [len(rows) for rows in found] == [len(rows) for rows in expected]
            torch.testing.assert_close(torch.cat(found), torch.cat(expected), rtol=0, atol=1e-3)


@torch.no_grad()
def test_speed_options(case):
    """Features and compared outputs are those of float32, on the same proposals."""
    proposals, expected = None, []
    # Rounding errors of SSDLite grow from level to level, unless it is trained.
    count = 1 if 'ssdlite' in case.stock.config else None if ALL else 2
    for options, tolerance in ((None, 0), *OPTIONS[:count]):
        model = VideoDetector.wrap(case.build())
        model = accelerate(model, options).model if options else model
        with model.running():
            found = [*model.key_frame(case.images, case.samples).features]
            if case.stock.losses:
                outputs, chosen = model.spatial.head_outputs(found, case.samples, proposals)
                proposals = chosen if options is None else proposals
                found += [output.values for output in outputs]
        expected = expected or found
        for one, reference in zip(found, expected, strict=True):
            deviation = (one.float() - reference).norm() / reference.norm()
            assert deviation <= tolerance


@pytest.mark.parametrize(
    ('config', 'end'),
    [
        ('deformable_detr/deformable-detr_r50_16xb2-50e_coco', 'boxes'),
        ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco', 'raw outputs'),
    ],
)
def test_graphs_of_a_gpu(config, end):
    model, _ = graph_path.build(config)
    path, boxes, lost = graph_path.compare(model, (64, 96))
    assert (path.end, path.captures, path.failed, lost) == (end, 4, 0, 0) and boxes > 100
    assert end != 'boxes' or (path.waits.total() == 1 and path.kernels <= 5)


# --- checks of all stock detectors that take long -------------------------------------------------


@pytest.fixture(scope='module')
def trained(case):
    """The detector, trained on two pictures, and its highest score."""
    detector = build_stock(case.stock.config, narrow=True).to(DEVICE)
    return detector, overfit(detector, case.stock.small, case.stock.iterations)


@pytest.mark.skipif(not ALL, reason='DETECTORS=all')
def test_parts_of_the_semantic_loss_are_balanced(case, trained):
    detector, score = trained
    for split in case.stock.splits if case.stock.losses else ():
        check_balance(video_detector(detector, split, kind=SemiDFF), score, case.stock.small)


@pytest.mark.skipif(not ALL, reason='DETECTORS=all')
def test_graphs(case):
    for split in case.stock.splits:
        path, boxes, lost = graph_path.compare(*graph_path.build(case.stock.config, split))
        assert path.end and boxes and not lost


@pytest.mark.skipif(not ALL, reason='DETECTORS=all')
def test_onnx(case, trained, tmp_path):
    """Exported, if the operators are ONNX's."""
    for split in case.stock.splits:
        with suppress(TypeError, NotImplementedError, ExportError):
            export_onnx(video_detector(trained[0], split), tmp_path / split, case.stock.small)
