"""Accuracy over the average key-frame interval: adaptive schedules compared with fixed intervals.

Schedules differ in their key frames only. So detections in a frame from a given key frame are computed once, however
many schedules choose this pair.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmdet.registry import DATASETS, METRICS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from torch import Tensor

from semidff.datasets.samplers.video_sampler import frames_of_videos
from semidff.inference import AdaptiveSchedule, ErrorPredictor, FixedSchedule, KeyFrameSchedule
from semidff.inference.schedules.calibration import keys_of_frames
from semidff.inference.timer import timed
from semidff.models.video_detector import KeyFrame, VideoDetector
from semidff.utils.atomic_write import atomic_path
from semidff.utils.tables import text_table


@dataclass
class SchedulePoint:
    """A schedule, its accuracy and its cost.

    Attributes:
        kind: ``fixed`` or ``adaptive``.
        wanted: Requested interval.
        keys: Number of key frames.
        metrics: Metrics of the evaluation, mAP in 0..1.
        cost: Mean time of a frame relative to that of a key frame.
    """

    kind: str
    wanted: float
    frames: int = 0
    keys: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    cost: float = 0.0

    @property
    def interval(self) -> float:
        """Average key-frame interval."""
        return self.frames / self.keys

    def to_dict(self) -> dict:
        """All figures, for JSON."""
        return {**asdict(self), 'interval': self.interval}


class _Video:
    """Detections in a video's frames from any earlier key frame, each computed once."""

    def __init__(self, model: VideoDetector, predictor: ErrorPredictor, items: list[dict]) -> None:
        self._model, self._predictor, self._items = model, predictor, items
        self._device = next(model.parameters()).device
        self._keys: dict[int, tuple[DetDataSample, KeyFrame]] = {}
        self._pairs: dict[tuple[int, int], tuple[DetDataSample, float]] = {}
        self.key_seconds: list[float] = []
        self.pair_seconds: list[float] = []

    def result(self, key: int, current: int) -> DetDataSample:
        """Detections in frame ``current``, propagated from ``key`` unless the two are the same."""
        return self._key(key)[0] if key == current else self._pair(key, current)[0]

    def error(self, key: int, current: int) -> float:
        return self._pair(key, current)[1]

    def _input(self, index: int) -> tuple[Tensor, list[DetDataSample]]:
        item = self._items[index]
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples'].new()])
        batch = self._model.data_preprocessor(batch, False)
        return batch['inputs'], batch['data_samples']

    def _key(self, index: int) -> tuple[DetDataSample, KeyFrame]:
        if index not in self._keys:
            inputs, samples = self._input(index)
            with timed(self._device) as lap:
                (result,), key = self._model.predict_key(inputs, samples)
            self.key_seconds.append(lap.seconds)
            self._keys[index] = result, key
        return self._keys[index]

    def _pair(self, key: int, current: int) -> tuple[DetDataSample, float]:
        if (key, current) not in self._pairs:
            frame = self._key(key)[1]
            inputs, samples = self._input(current)
            with timed(self._device) as lap:
                flow_field = self._model.flow_field(inputs, frame)
                error = float(self._predictor(flow_field))
                (result,) = self._model.predict_non_key(inputs, samples, frame, flow_field)
            self.pair_seconds.append(lap.seconds)
            self._pairs[key, current] = result, error
        return self._pairs[key, current]


@torch.no_grad()
def schedule_curve(
    model: VideoDetector,
    config: Config,
    predictor: ErrorPredictor,
    intervals: Sequence[int],
    max_videos: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[SchedulePoint]:
    """Evaluate fixed and adaptive schedules of equal intervals on a config's test videos.

    Args:
        model: In eval mode, with ``dataset_meta``.
        config: Its test data set and its metric are used.
        predictor: Calibrated error predictor.
        intervals: Key-frame intervals; averages of the calibration for adaptive schedules, which are left out where
            the calibration does not reach.
        max_videos: Number of first videos to use; None for all.

    Raises:
        ScheduleError: If an interval is below 1.
    """
    lowest, highest = predictor.intervals[0], predictor.intervals[-1]
    schedules: list[tuple[SchedulePoint, KeyFrameSchedule]] = [
        (SchedulePoint('fixed', wanted), FixedSchedule(wanted)) for wanted in intervals
    ]
    schedules += [
        (SchedulePoint('adaptive', wanted), AdaptiveSchedule(predictor, interval=wanted))
        for wanted in intervals
        if lowest <= wanted <= highest
    ]
    metrics = [_metric(config, model) for _ in schedules]
    key_seconds, pair_seconds = [], []
    dataset = DATASETS.build(config.test_dataloader.dataset)
    for number, indices in enumerate(frames_of_videos(dataset)[:max_videos]):
        video = _Video(model, predictor, [dataset[index] for index in indices])
        for (point, schedule), metric in zip(schedules, metrics, strict=True):
            keys = keys_of_frames(schedule, len(indices), video.error)
            point.frames, point.keys = point.frames + len(keys), point.keys + len(set(keys))
            results = [video.result(key, at) for at, key in enumerate(keys)]
            metric.process(None, [result.to_dict() for result in results])
        key_seconds += video.key_seconds
        pair_seconds += video.pair_seconds
        progress(f'video {number + 1}: {len(indices)} frames')
    ratio = statistics.median(pair_seconds) / statistics.median(key_seconds)
    for (point, _), metric in zip(schedules, metrics, strict=True):
        point.metrics = metric.evaluate(point.frames)
        share = point.keys / point.frames
        point.cost = share + (1 - share) * ratio
    return [point for point, _ in schedules]


def _metric(config: Config, model: VideoDetector) -> BaseMetric:
    """The config's VIDMetric, which writes no file."""
    evaluator = config.test_evaluator
    evaluators = evaluator if isinstance(evaluator, list) else [evaluator]
    chosen = next(e for e in evaluators if e.get('type') == 'VIDMetric')
    metric = METRICS.build({k: v for k, v in chosen.items() if k != 'outfile'})
    metric.dataset_meta = model.dataset_meta
    return metric


def curve_table(points: Sequence[SchedulePoint]) -> str:
    """Draw a text table of the points, mAP in per cent."""
    metrics = {'mAP': 'mAP', 'slow': 'mAP_slow', 'medium': 'mAP_medium', 'fast': 'mAP_fast'}
    rows = [('schedule', 'requested', 'interval', 'key share', 'cost', *metrics)]
    for point in points:
        accuracy = (f'{100 * point.metrics[f"vid/{name}"]:.2f}' for name in metrics.values())
        shares = f'{1 / point.interval:.3f}', f'{point.cost:.3f}'
        numbers = f'{point.wanted:.3g}', f'{point.interval:.2f}', *shares
        rows.append((point.kind, *numbers, *accuracy))
    return text_table(rows)


def draw_schedules(points: Sequence[SchedulePoint], path: str | Path) -> None:
    """Draw mAP over the average interval and over the cost, and write the picture to ``path``."""
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    by_interval, by_cost = figure.subplots(1, 2, sharey=True)
    for axes, name in (by_interval, 'interval'), (by_cost, 'cost'):
        for kind, style in dict(fixed='o--', adaptive='s-').items():
            line = sorted((p for p in points if p.kind == kind), key=lambda p: p.interval)
            accuracy = [100 * point.metrics['vid/mAP'] for point in line]
            axes.plot([getattr(p, name) for p in line], accuracy, style, label=kind)
        axes.grid(alpha=0.3)
        axes.legend()
    by_interval.set(xlabel='average key-frame interval', ylabel='mAP, %', xscale='log')
    ticks = sorted({point.wanted for point in points})
    by_interval.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    by_interval.minorticks_off()
    by_cost.set(xlabel='mean cost of a frame relative to a key frame')
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=120)
