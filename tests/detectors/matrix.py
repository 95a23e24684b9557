"""What works with the stock detectors of mmdetection at each split point, and what it costs.

    MATRIX=matrix.jsonl pytest tests/detectors/matrix.py -k 'retinanet and OutputSplit'

The normal suite does not collect this file. Detectors are narrow and trained briefly on two synthetic pictures, since
neither boxes nor loss parts of untrained detectors mean anything; *counted* and the timings, which need ``TIMED=1`` and
an idle machine, are those of the whole detector with random weights at its own input size. What is not supported is
skipped with the reason. ``MATRIX`` names a file that gets the figures, one line of JSON for each check; ``FLOW_WIDTH``
is the width of FlowNetS, ``DEVICE`` where everything runs. ``python -m tests.detectors.table FILE`` prints the table.
"""

import copy
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from semidff.analysis.complexity import measure_complexity
from semidff.analysis.speed import (
    ClipTimer,
    PartTimes,
    batch_of,
    clips_of,
    speedup_of,
    take_turns,
    time_parts,
)
from semidff.deployment.export import ExportError, export_onnx
from semidff.inference.acceleration import Acceleration, accelerate
from semidff.models import SemiDFF, VideoDetector
from semidff.models.spatial import SpatialModule, plain_samples
from semidff.synthetic.smooth_video import smooth_frames, write_smooth_video

from . import graph_path
from .loss_parts import gradient_norms, quality_spread
from .output_deviation import output_deviation
from .stock_detectors import (
    STOCK,
    build_stock,
    calibrate,
    overfit,
    pictures,
    random_scores,
    sorted_rows,
)
from .video_detectors import SEMANTIC, SPLITS, video_detector

FLOW_WIDTH = float(os.environ.get('FLOW_WIDTH', 1 / 8))
DEVICE = os.environ.get('DEVICE', 'cpu')
KEY_INTERVAL = 10
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
TIMED_OPTIONS = Acceleration(channels_last=True)
"""Options of all timings, as with ``ChannelsLastHook`` in this project's configs."""

stocks = {'params': STOCK, 'ids': [stock.name for stock in STOCK], 'scope': 'module'}
timed = pytest.mark.skipif('TIMED' not in os.environ, reason='needs TIMED=1 and an idle machine')


@pytest.fixture(**stocks)
def narrow(request):
    """A stock detector, narrow and trained, and its highest score."""
    detector = build_stock(request.param.config, narrow=True).to(DEVICE)
    score = overfit(detector, request.param.small, request.param.iterations)
    return request.param, detector, score


@pytest.fixture(**stocks)
def wide(request):
    """A stock detector with random weights, as many of whose scores pass the threshold as after a training."""
    detector = build_stock(request.param.config).to(DEVICE)
    calibrate(detector, request.param.size)
    return request.param, detector


@pytest.fixture(params=SPLITS)
def split(request):
    return request.param


@pytest.fixture
def record(request, split):
    """Writes the figures of a check."""

    def write(**figures: object) -> None:
        check, name = request.node.name.split('[')[0], request.node.callspec.id
        if path := os.environ.get('MATRIX'):
            with Path(path).open('a') as file:
                file.write(json.dumps(dict(check=check, case=name, split=split, **figures)) + '\n')

    return write


def cut(detector: nn.Module, split: str, kind: type[VideoDetector] = VideoDetector):
    """Build the video detector; skip the check where the detector cannot be cut."""
    try:
        return video_detector(detector, split, FLOW_WIDTH, kind)
    except (TypeError, ValueError) as error:
        pytest.skip(str(error))


@torch.no_grad()
def box_deviation(detector: nn.Module, model: VideoDetector, images: Tensor) -> tuple[float, int]:
    """Return the largest difference of boxes and scores at l = 1 from the detector's own, and the number of boxes.

    Frames are normalized, (N, 3, H, W); the difference is infinite if the numbers of boxes differ.
    """
    count, size = len(images), tuple(images.shape[-2:])
    own = detector.predict(images, plain_samples(count, size))
    found = model.predict(images, plain_samples(count, size))
    worst, boxes = 0.0, 0
    for a, b in zip(own, found, strict=True):
        a, b = a.pred_instances, b.pred_instances
        if len(a) != len(b):
            return float('inf'), len(b)
        boxes += len(a)
        for key in ('bboxes', 'scores') if len(a) else ():
            worst = max(worst, (a[key] - b[key]).abs().max().item())
    return worst, boxes


def weights_without_gradient(model: SemiDFF, key: Tensor, current: Tensor) -> list[str]:
    """Run the semantic step's loss once on frames (N, 3, H, W); name the trained weights that get no gradient."""
    model.enter_step(*SEMANTIC)
    samples = plain_samples(len(key), tuple(key.shape[-2:]))
    sum(model.loss(torch.stack((key, current), 1), samples).values()).backward()
    return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def check_boxes(detector: nn.Module, model: VideoDetector, size: tuple[int, int]) -> dict:
    """Compare the boxes at l = 1 with those of the image detector."""
    deviation, boxes = box_deviation(detector, model, pictures(size, DEVICE)[0])
    assert boxes and deviation <= 1e-3
    return dict(deviation=deviation, boxes=boxes)


@torch.no_grad()
def check_fixed(detector: nn.Module, size: tuple[int, int]) -> dict:
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
    return dict(deviation=worst)


def check_options(model: VideoDetector, name: str, size: tuple[int, int]) -> dict:
    """Compare the outputs with speed options with those of contiguous maps in float32."""
    options, tolerance = OPTIONS[name]
    accelerated = accelerate(copy.deepcopy(model), options).model
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        deviation = output_deviation(model, accelerated, pictures(size, DEVICE)[0])
    assert deviation <= tolerance
    return dict(deviation=deviation)


def check_semantic(model: SemiDFF, score: float, size: tuple[int, int]) -> dict:
    """Look for trained weights without gradient and, if the teacher is trained, for unbalanced loss parts."""
    torch.manual_seed(0)
    images, samples = pictures(size, DEVICE)[0], plain_samples(2, size)
    assert not weights_without_gradient(model, images, images.roll(4, -1))
    norms = gradient_norms(model, images, samples)
    spread = quality_spread(model.teacher, images, samples)
    constant = spread is not None and spread < CONSTANT
    compared = [norm for name, norm in norms.items() if not (constant and name == 'quality')]
    ratio = max(compared) / max(min(compared), 1e-30)
    assert score < TRAINED or ratio <= BALANCED
    return dict(ratio=ratio, norms=norms, quality_spread=spread, score=score)


def test_boxes(narrow, split, record):
    stock, detector, _ = narrow
    record(**check_boxes(detector, cut(detector, split), stock.small))


@pytest.mark.parametrize('split', SPLITS[:1], indirect=True)  # raw outputs are those of all
@pytest.mark.parametrize('stock', STOCK, ids=stocks['ids'])
def test_fixed(stock, split, record):
    """With random weights: what the boxes are does not matter."""
    try:
        record(**check_fixed(build_stock(stock.config, narrow=True).to(DEVICE), stock.small))
    except TypeError as error:  # no raw outputs
        pytest.skip(str(error))


@pytest.mark.parametrize('name', OPTIONS)
def test_options(narrow, split, name, record):
    stock, detector, _ = narrow
    record(name=name, **check_options(cut(detector, split), name, stock.small))


@pytest.mark.skipif(DEVICE != 'cpu', reason='simulates a GPU')
@pytest.mark.parametrize('stock', STOCK, ids=stocks['ids'])
def test_graphs(stock, split, record):
    """With random weights, as :func:`test_fixed`."""
    try:
        model, size = graph_path.build(stock.config, split)
    except (TypeError, ValueError) as error:
        pytest.skip(str(error))
    path, boxes, lost = graph_path.compare(model, size)
    assert path.end and boxes and not lost
    record(end=path.end, waits=path.waits.total(), kernels=path.kernels)


def test_semantic(narrow, split, record):
    stock, detector, score = narrow
    model = cut(detector, split, SemiDFF)
    try:
        model.enter_step(*SEMANTIC)
    except (TypeError, NotImplementedError) as error:
        pytest.skip(str(error))
    record(**check_semantic(model, score, stock.small))


def test_onnx(narrow, split, record, tmp_path):
    stock, detector, _ = narrow
    try:
        export_onnx(cut(detector, split), tmp_path, stock.small)
    except (TypeError, ValueError, NotImplementedError) as error:
        pytest.skip(str(error))
    except ExportError as error:
        if 'operators of mmcv' not in str(error):
            raise
        pytest.skip(str(error))
    record(exported=True)


def test_counted(wide, split, record):
    """On the CPU: of mmcv's operators for GPUs, nothing can be counted."""
    stock, detector = wide
    report = measure_complexity(cut(detector, split).cpu(), *stock.size)
    record(ratio=report.ratio, speedup=speedup_of(report.ratio, KEY_INTERVAL))


@timed
def test_measured(wide, split, record):
    stock, detector = wide
    batches = list(map(batch_of, smooth_frames(2, *stock.size)))
    model = accelerate(cut(detector, split), TIMED_OPTIONS).model
    times = PartTimes.medians(take_turns({'': lambda: time_parts(model, batches)}, 3)[''])
    record(ratio=times.ratio, speedup=times.bound(KEY_INTERVAL), **times._asdict())


@timed
def test_end_to_end(wide, split, record, tmp_path):
    stock, detector = wide
    video = write_smooth_video(tmp_path / 'pan.mp4', 2 * KEY_INTERVAL, *stock.size)
    executor, tasks = accelerate(cut(detector, split), TIMED_OPTIONS), {}
    for method in ('frame', 'propagate'):
        clips = clips_of(str(video), KEY_INTERVAL + 1)
        timer = ClipTimer(executor, method, KEY_INTERVAL, batch_of)
        tasks[method] = lambda timer=timer, clips=clips: timer.run(next(clips)).total
    seconds = take_turns(tasks, 2)
    speed_up = np.median(np.divide(seconds['frame'], seconds['propagate']))
    record(speedup=float(speed_up), **seconds)
