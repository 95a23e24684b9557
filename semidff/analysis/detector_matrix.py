"""What works with a detector at each split point, and what it costs: the table of ``docs/detectors.md``.

Correctness is checked with narrow detectors that were trained briefly on two synthetic pictures
(:mod:`semidff.analysis.stock_detectors`), since neither boxes nor loss parts of untrained detectors mean anything.
Costs are those of the stock detector with random weights at its own input size.
"""

import copy
import gc
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.inference.acceleration import Acceleration, accelerate
from semidff.models import SemiDFF, VideoDetector
from semidff.models.spatial import SpatialModule, plain_samples
from semidff.models.spatial.head_splits import FEW_PROPOSALS, correction_width

from .complexity import measure_complexity
from .loss_parts import gradient_norms, quality_spread
from .matrix_table import cell, reason_of
from .output_deviation import output_deviation
from .smooth_video import smooth_frames, write_smooth_video
from .speed import PartTimes, batch_of, speedup_of, take_turns, time_parts
from .speed_report import measure_methods
from .stock_detectors import (
    StockDetector,
    build_stock,
    calibrate,
    overfit,
    pictures,
)

SPLITS = ('default', 'TowerSplit', 'OutputSplit')
FLOW_WIDTH = 1 / 8
KEY_INTERVAL = 10
TRAINED = 0.3
"""Score above which the teacher counts as trained, so that its loss parts can be compared."""
BALANCED = 30.0
"""Largest ratio of the gradient norms of two loss parts."""
CONSTANT = 0.02
"""Standard deviation of the teacher's quality at objects below which its loss part cannot be compared with others."""
TOLERANCES = dict(channels_last=1e-3, bf16=0.1, fp16=0.02)
"""Largest deviation of the outputs from those of contiguous maps in float32."""


class Case(NamedTuple):
    """A detector at a split point.

    Attributes:
        stock: The stock config.
        split: Name in :data:`SPLITS`.
        detector: The narrow detector, trained; None if only costs are computed.
        score: Its highest score on the pictures.
        flow_width: Width of FlowNetS.
        model: A video detector around a copy of it.
        wide: A video detector around the stock detector, None if only correctness is checked.
    """

    stock: StockDetector
    split: str
    detector: nn.Module | None
    score: float
    flow_width: float
    model: VideoDetector | None
    wide: VideoDetector | None

    def pictures(self) -> tuple[Tensor, SampleList]:
        """Return the :func:`~semidff.analysis.stock_detectors.pictures` on the detector's device."""
        return pictures(self.stock.small, next(self.detector.parameters()).device)


def video_detector(
    detector: nn.Module,
    split: str,
    flow_width: float = FLOW_WIDTH,
    kind: type[VideoDetector] = VideoDetector,
) -> VideoDetector:
    """Build a video detector around a copy of a detector.

    Args:
        detector: The detector.
        split: Name in :data:`SPLITS`.
        flow_width: Width of FlowNetS, whose stride is 8 if the finest level has stride 8 or less.
        kind: Class of the video detector.
    """
    fine = min(SpatialModule(detector).probe_levels()[1]) <= 8
    flow_network = dict(type='FlowNetS', width=flow_width, stride=8 if fine else 16)
    temporal = dict(type='TemporalModule', flow_network=flow_network, init_std=None)
    few = None
    if split == 'OutputSplit':
        two_stage = hasattr(detector, 'rpn_head')
        few = dict(rpn=dict(max_per_img=FEW_PROPOSALS)) if two_stage else None
        temporal['correction_width'] = correction_width(two_stage)
    model = kind(
        copy.deepcopy(detector),
        temporal,
        split=None if split == 'default' else dict(type=split),
        data_preprocessor=detector.data_preprocessor,
        non_key_test_cfg=few,
    )
    return model.to(next(detector.parameters()).device).eval()


@torch.no_grad()
def check_frame(case: Case) -> dict:
    """Compare the boxes at l = 1 with those of the image detector."""
    images, _ = case.pictures()
    own = case.detector.predict(images, plain_samples(2, case.stock.small))
    found = case.model.predict(images, plain_samples(2, case.stock.small))
    worst, count = 0.0, 0
    for a, b in zip(own, found, strict=True):
        a, b = a.pred_instances, b.pred_instances
        if len(a) != len(b):
            return cell(f'{len(b)} boxes, not {len(a)}', 'failed')
        count += len(a)
        for key in ('bboxes', 'scores') if len(a) else ():
            worst = max(worst, (a[key] - b[key]).abs().max().item())
    if not count:
        return cell('no boxes', 'failed')
    status = 'ok' if worst <= 1e-3 else 'failed'
    return cell('equal' if worst == 0 else f'{worst:.0e}', status, deviation=worst, boxes=count)


OPTIONS = dict(
    channels_last=Acceleration(channels_last=True),
    bf16=Acceleration('bf16'),
    fp16=Acceleration('fp16'),
)
TIMED_OPTIONS = OPTIONS['channels_last']
"""Options of all timings: float32 with channels-last maps, as with ``ChannelsLastHook`` in this project's configs."""


def check_options(case: Case, name: str) -> dict:
    """Compare the outputs with some of :data:`OPTIONS` with those of contiguous maps in float32."""
    accelerated = accelerate(copy.deepcopy(case.model), OPTIONS[name])
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        worst = output_deviation(case.model, accelerated, case.pictures()[0])
    status = 'ok' if worst <= TOLERANCES[name] else 'failed'
    return cell('equal' if worst == 0 else f'{worst:.1e}', status, deviation=worst)


def check_semantic(case: Case) -> dict:
    """Enter the semantic step, and look for trained weights without gradient and for unbalanced loss parts."""
    torch.manual_seed(0)
    model = video_detector(case.detector, case.split, case.flow_width, SemiDFF)
    model.enter_step([dict(type='FeatureSemantics')], ('temporal', 'task_network'))
    images, _ = case.pictures()
    labeled = plain_samples(2, case.stock.small)
    pairs = torch.stack((images, images.roll(4, -1)), 1)
    sum(model.loss(pairs, labeled).values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if without:
        return cell(f'no gradient: {", ".join(without[:3])}', 'failed')
    norms = gradient_norms(model, images, labeled)
    spread = quality_spread(model.teacher, images, labeled)
    constant = spread is not None and spread < CONSTANT
    compared = [norm for name, norm in norms.items() if not (constant and name == 'quality')]
    ratio = max(compared) / max(min(compared), 1e-30)
    figures = dict(ratio=ratio, norms=norms, quality_spread=spread, score=case.score)
    if case.score < TRAINED:
        return cell('teacher untrained', **figures)
    text = f'{ratio:.1f}' + (' (quality constant)' if constant else '')
    return cell(text, 'ok' if ratio <= BALANCED else 'failed', **figures)


def check_counted(case: Case) -> dict:
    """Count the operations of the parts at the detector's own input size."""
    # On the CPU: of mmcv's operators for GPUs, nothing can be counted.
    report = measure_complexity(copy.deepcopy(case.wide).cpu(), *case.stock.size)
    return _speed(report.ratio, report.to_dict([KEY_INTERVAL]))


def check_measured(case: Case) -> dict:
    """Measure the times of the parts at the detector's own input size, with channels-last maps."""
    batches = list(map(batch_of, smooth_frames(2, *case.stock.size)))
    model = accelerate(copy.deepcopy(case.wide), TIMED_OPTIONS)
    times = PartTimes.medians(take_turns({'': lambda: time_parts(model, batches)}, 3)[''])
    return _speed(times.ratio, times._asdict())


@torch.no_grad()
def check_end_to_end(case: Case) -> dict:
    """Measure the speed-up from decoding to boxes (:mod:`semidff.analysis.speed`), with channels-last maps."""
    with TemporaryDirectory() as folder:
        video = write_smooth_video(Path(folder) / 'pan.mp4', 2 * KEY_INTERVAL, *case.stock.size)
        report = measure_methods(
            case.wide,
            video,
            batch_of,
            options=[TIMED_OPTIONS],
            key_interval=KEY_INTERVAL,
            rounds=2,
        )
    *_, row = report['rows'].values()
    return cell(f'{row["end_to_end"]["speed_up"]:.2f}x', **report)


def _speed(ratio: float, figures: dict) -> dict:
    speedup = speedup_of(ratio, KEY_INTERVAL)
    return cell(f'{ratio:.3f}, {speedup:.1f}x', **figures)


CHECKS: dict[str, Callable[[Case], dict]] = dict(
    frame=check_frame,
    **{name: partial(check_options, name=name) for name in OPTIONS},
    semantic=check_semantic,
    counted=check_counted,
    measured=check_measured,
    end_to_end=check_end_to_end,
)
"""Checks by name; ``onnx`` of :func:`onnx_check` is another."""
WIDE = {'counted', 'measured', 'end_to_end'}
"""Checks of the stock detector; all others are of the narrow one."""


def onnx_check(export: Callable) -> Callable[[Case], dict]:
    """Return the check that a function such as :func:`~semidff.deployment.export.export_onnx` exports the model."""

    def check(case: Case) -> dict:
        with TemporaryDirectory() as folder:
            export(copy.deepcopy(case.model), folder, case.stock.small)
        return cell('yes')

    return check


def examine(
    stock: StockDetector,
    checks: dict[str, Callable[[Case], dict]],
    splits: Sequence[str] = SPLITS,
    flow_width: float = FLOW_WIDTH,
    device: str = 'cpu',
) -> dict[str, dict]:
    """Run checks of a detector at several split points; nothing is raised.

    Args:
        stock: The detector.
        checks: Checks by name.
        splits: Names of :data:`SPLITS`.
        flow_width: Width of FlowNetS.
        device: Where to run the checks.

    Returns:
        Cells by check for each split; ``split`` alone, with the reason, where the detector cannot be cut.
    """
    try:
        narrow = build_stock(stock.config, narrow=True).to(device) if set(checks) - WIDE else None
        score = overfit(narrow, stock.small, stock.iterations) if narrow else 0.0
        wide = build_stock(stock.config).to(device) if set(checks) & WIDE else None
        if wide:
            calibrate(wide, stock.size)
    except Exception as error:
        return {'default': dict(split=reason_of(error))}
    rows = {}
    for split in splits:
        try:
            models = (one and video_detector(one, split, flow_width) for one in (narrow, wide))
            case = Case(stock, split, narrow, score, flow_width, *models)
        except Exception as error:
            rows[split] = dict(split=reason_of(error))
            continue
        rows[split] = {name: _attempt(check, case) for name, check in checks.items()}
        gc.collect()
    return rows


def _attempt(check: Callable[[Case], dict], case: Case) -> dict:
    try:
        return check(case)
    except Exception as error:
        return reason_of(error)
