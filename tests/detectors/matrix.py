"""What works with the stock detectors of mmdetection at each split point.

    pytest tests/detectors/matrix.py -k 'retinanet and OutputSplit'

The normal suite does not collect this file. Detectors are narrow and trained briefly on two synthetic pictures, since
neither boxes nor loss parts of untrained detectors mean anything. What is not supported is skipped with the reason.
``FLOW_WIDTH`` is the width of FlowNetS, ``DEVICE`` where everything runs.
"""

import copy
import os

import pytest
import torch
from torch import nn

from semidff.deployment.export import ExportError, export_onnx
from semidff.inference.acceleration import Acceleration, accelerate
from semidff.models import SemiDFF, VideoDetector
from semidff.models.spatial import SpatialModule, plain_samples

from . import graph_path
from .loss_parts import gradient_norms, quality_spread
from .output_deviation import output_deviation
from .stock_detectors import (
    STOCK,
    build_stock,
    overfit,
    pictures,
    random_scores,
    sorted_rows,
)
from .video_detectors import SEMANTIC, SPLITS, video_detector

FLOW_WIDTH = float(os.environ.get('FLOW_WIDTH', 1 / 8))
DEVICE = os.environ.get('DEVICE', 'cpu')
TRAINED = 0.3
"""Score above which the teacher counts as trained, so that its loss parts can be compared."""
BALANCED = 30.0
"""Largest ratio of the gradient norms of two loss parts."""
CONSTANT = 0.02
"""Standard deviation of the teacher's quality at objects below which its loss part cannot be compared with others."""
OPTIONS = dict(
    channels_last=(Acceleration(channels_last=True), 1e-3),
    bf16=(Acceleration('bf16'), 0.1),
    fp16=(Acceleration('fp16'), 0.02),
)
"""Speed options, and the largest deviation of the outputs from those of contiguous maps in float32."""
stocks = {'params': STOCK, 'ids': [stock.name for stock in STOCK], 'scope': 'module'}


@pytest.fixture(**stocks)
def narrow(request):
    """A stock detector, narrow and trained, and its highest score."""
    detector = build_stock(request.param.config, narrow=True).to(DEVICE)
    score = overfit(detector, request.param.small, request.param.iterations)
    return request.param, detector, score


@pytest.fixture(params=SPLITS)
def split(request):
    return request.param


def cut(detector: nn.Module, split: str, kind: type[VideoDetector] = VideoDetector):
    """Build the video detector; skip the check where the detector cannot be cut."""
    try:
        return video_detector(detector, split, FLOW_WIDTH, kind)
    except (TypeError, ValueError) as error:
        pytest.skip(str(error))


@torch.no_grad()
def check_boxes(detector: nn.Module, model: VideoDetector, size: tuple[int, int]) -> float:
    """Compare the boxes and scores at l = 1 with those of the image detector."""
    images, worst = pictures(size, DEVICE)[0], []
    own, found = (each.predict(images, plain_samples(2, size)) for each in (detector, model))
    for a, b in zip(own, found, strict=True):
        a, b = a.pred_instances, b.pred_instances
        assert len(a) == len(b)
        worst += [(a[key] - b[key]).abs().max().item() for key in ('bboxes', 'scores') if len(a)]
    assert worst and max(worst) <= 1e-3
    return max(worst)


@torch.no_grad()
def check_fixed(detector: nn.Module, size: tuple[int, int]) -> float:
    """Compare the post-processing of fixed shape with mmdet's, on the same raw outputs."""
    spatial, samples = SpatialModule(detector), plain_samples(2, size)
    raw = random_scores(spatial.raw_outputs(spatial.features(pictures(size, DEVICE)[0])))
    geometry = torch.tensor([[*size, 1, 1]] * 2, dtype=torch.float64, device=DEVICE)
    fixed = spatial.fixed_shape(raw, geometry)
    if fixed is None:
        pytest.skip('has a post-processing of its own')
    expected = spatial.predict_raw(raw, copy.deepcopy(samples))
    found = spatial.finish(fixed.cpu(), raw, samples)
    found, expected = ([sorted_rows(s.pred_instances) for s in each] for each in (found, expected))
    assert fixed[:, -1, 0].all() and any(map(len, expected))
    assert [len(rows) for rows in found] == [len(rows) for rows in expected]
    worst = (torch.cat(found) - torch.cat(expected)).abs().max().item()
    assert worst <= 1e-3
    return worst


def check_options(model: VideoDetector, name: str, size: tuple[int, int]) -> float:
    """Compare the outputs with speed options with those of contiguous maps in float32."""
    options, tolerance = OPTIONS[name]
    accelerated = accelerate(copy.deepcopy(model), options).model
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        deviation = output_deviation(model, accelerated, pictures(size, DEVICE)[0])
    assert deviation <= tolerance
    return deviation


def check_semantic(model: SemiDFF, score: float, size: tuple[int, int]) -> None:
    """Look for trained weights without gradient and, if the teacher is trained, for unbalanced loss parts."""
    torch.manual_seed(0)
    images, samples = pictures(size, DEVICE)[0], plain_samples(2, size)
    model.set_objectives(*SEMANTIC)
    pairs = torch.stack((images, images.roll(4, -1)), 1)
    sum(model.loss(pairs, samples).values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    norms = gradient_norms(model, images, samples)
    spread = quality_spread(model.teacher.spatial, images, samples)
    constant = spread is not None and spread < CONSTANT
    compared = [norm for name, norm in norms.items() if not (constant and name == 'quality')]
    ratio = max(compared) / max(min(compared), 1e-30)
    assert score < TRAINED or ratio <= BALANCED


def test_boxes(narrow, split):
    stock, detector, _ = narrow
    check_boxes(detector, cut(detector, split), stock.small)


@pytest.mark.parametrize('stock', STOCK, ids=stocks['ids'])
def test_fixed(stock):
    """With random weights: what the boxes are does not matter."""
    try:
        check_fixed(build_stock(stock.config, narrow=True).to(DEVICE), stock.small)
    except TypeError as error:  # no raw outputs
        pytest.skip(str(error))


@pytest.mark.parametrize('name', OPTIONS)
def test_options(narrow, split, name):
    stock, detector, _ = narrow
    check_options(cut(detector, split), name, stock.small)


@pytest.mark.skipif(DEVICE != 'cpu', reason='simulates a GPU')
@pytest.mark.parametrize('config', [graph_path.RFCN, *(stock.config for stock in STOCK)])
def test_graphs(config, split):
    """With random weights, as :func:`test_fixed`."""
    try:
        model, size = graph_path.build(config, split)
    except (TypeError, ValueError) as error:
        pytest.skip(str(error))
    path, boxes, lost = graph_path.compare(model, size)
    assert path.end and boxes and not lost


def test_semantic(narrow, split):
    stock, detector, score = narrow
    model = cut(detector, split, SemiDFF)
    try:
        model.set_objectives(*SEMANTIC)
    except (TypeError, NotImplementedError) as error:
        pytest.skip(str(error))
    check_semantic(model, score, stock.small)


def test_onnx(narrow, split, tmp_path):
    stock, detector, _ = narrow
    try:
        export_onnx(cut(detector, split), tmp_path, stock.small)
    except (TypeError, ValueError, NotImplementedError) as error:
        pytest.skip(str(error))
    except ExportError as error:
        if 'operators of mmcv' not in str(error):
            raise
        pytest.skip(str(error))
