"""Accuracy over the average number of key frames: adaptive schedules against fixed intervals.

Schedules differ in their key frames alone, so that each pair of a key frame and a current frame is detected in once,
however many schedules come by it.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, islice

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmdet.registry import DATASETS, METRICS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import Tensor

from semidff.inference import AdaptiveSchedule, ErrorPredictor, FixedSchedule, KeyFrameSchedule
from semidff.inference.schedules.calibration import keys_of_frames
from semidff.models.video_detector import FlowField, KeyFrame, VideoDetector

KINDS = ('fixed', 'adaptive')


@dataclass
class SchedulePoint:
    """A schedule and what it came to.

    Attributes:
        kind: ``fixed`` or ``adaptive``.
        wanted: Interval that was asked for.
        frames: Frames seen.
        keys: Key frames among them.
        metrics: Of the evaluation, mAP in 0..1.
        cost: Mean cost of a frame in units of a dense frame.
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
        """For json."""
        return {**asdict(self), 'interval': self.interval}


class _Video:
    """Detections in a video's frames, from any key frame before them, each computed once."""

    def __init__(self, model: VideoDetector, predictor: ErrorPredictor, items: list[dict]) -> None:
        self._model, self._predictor, self._items = model, predictor, items
        self._keys: dict[int, tuple[DetDataSample, KeyFrame]] = {}
        self._pairs: dict[tuple[int, int], tuple[DetDataSample, float]] = {}
        self.key_seconds: list[float] = []
        self.pair_seconds: list[float] = []

    def __len__(self) -> int:
        return len(self._items)

    def result(self, key: int, current: int) -> DetDataSample:
        """Detections in frame ``current``, propagated from ``key`` unless that is the same."""
        return self._key(key)[0] if key == current else self._pair(key, current)[0]

    def error(self, key: int, current: int) -> float:
        """Predicted error of the pair."""
        return self._pair(key, current)[1]

    def _input(self, index: int) -> tuple[Tensor, list[DetDataSample]]:
        item = self._items[index]
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples'].new()])
        batch = self._model.data_preprocessor(batch, False)
        return batch['inputs'], batch['data_samples']

    def _key(self, index: int) -> tuple[DetDataSample, KeyFrame]:
        if index not in self._keys:
            batch, start = self._input(index), time.perf_counter()
            results, key = self._model.predict_key(*batch)
            self.key_seconds.append(time.perf_counter() - start)
            self._keys[index] = results[0], key
        return self._keys[index]

    def _pair(self, key: int, current: int) -> tuple[DetDataSample, float]:
        if (key, current) not in self._pairs:
            frame = self._key(key)[1]
            (inputs, samples), start = self._input(current), time.perf_counter()
            flow_field: FlowField = self._model.flow_field(inputs, frame)
            error = float(self._predictor(flow_field))
            result = self._model.predict_non_key(inputs, samples, frame, flow_field)[0]
            self.pair_seconds.append(time.perf_counter() - start)
            self._pairs[key, current] = result, error
        return self._pairs[key, current]


@torch.no_grad()
def schedule_curve(
    model: VideoDetector,
    config: Config,
    predictor: ErrorPredictor,
    intervals: Sequence[int],
    max_videos: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[SchedulePoint]:
    """Evaluates fixed and adaptive schedules of equal intervals on a config's test videos.

    Args:
        model (VideoDetector): In eval mode, with ``dataset_meta``.
        config (Config): Its test dataset and metric are used.
        predictor (ErrorPredictor): Calibrated.
        intervals (Sequence[int]): Intervals; for adaptive schedules, those that the calibration promises.
        max_videos (int | None): Only the first videos.
        progress (Callable | None): Is told what has been done.

    Raises:
        ScheduleError: If an interval is below 1, or none of them is within the calibration's reach.
    """
    schedules = _schedules(predictor, intervals)
    metrics = [_metric(config, model) for _ in schedules]
    key_seconds, pair_seconds = [], []
    for number, items in enumerate(islice(_videos(config), max_videos)):
        video = _Video(model, predictor, items)
        for (point, schedule), metric in zip(schedules, metrics, strict=True):
            keys = keys_of_frames(schedule, len(video), video.error)
            point.frames, point.keys = point.frames + len(keys), point.keys + len(set(keys))
            results = [video.result(key, at) for at, key in enumerate(keys)]
            metric.process(None, [result.to_dict() for result in results])
        key_seconds += video.key_seconds
        pair_seconds += video.pair_seconds
        if progress:
            progress(f'video {number + 1}: {len(video)} frames')
    ratio = statistics.median(pair_seconds) / statistics.median(key_seconds)
    for (point, _), metric in zip(schedules, metrics, strict=True):
        point.metrics = metric.evaluate(point.frames)
        share = point.keys / point.frames
        point.cost = share + (1 - share) * ratio
    return [point for point, _ in schedules]


def _schedules(
    predictor: ErrorPredictor, intervals: Sequence[int]
) -> list[tuple[SchedulePoint, KeyFrameSchedule]]:
    fixed = [(SchedulePoint('fixed', l), FixedSchedule(l)) for l in intervals]  # noqa: E741
    adaptive = [
        (SchedulePoint('adaptive', wanted), AdaptiveSchedule(predictor, interval=wanted))
        for wanted in intervals
        if predictor.intervals[0] <= wanted <= predictor.intervals[-1]
    ]
    return fixed + adaptive


def _metric(config: Config, model: VideoDetector):
    evaluator = config.test_evaluator
    evaluators = evaluator if isinstance(evaluator, list) else [evaluator]
    chosen = next(e for e in evaluators if e.get('type') == 'VIDMetric')
    metric = METRICS.build({k: v for k, v in chosen.items() if k != 'outfile'})
    metric.dataset_meta = model.dataset_meta
    return metric


def _videos(config: Config) -> Iterator[list[dict]]:
    """The test videos, each a list of its frames after the test pipeline."""
    dataset = DATASETS.build(config.test_dataloader.dataset)
    numbers = sorted(
        range(len(dataset)),
        key=lambda i: (dataset.get_data_info(i)['video_id'], dataset.get_data_info(i)['frame_id']),
    )
    for _, group in groupby(numbers, lambda i: dataset.get_data_info(i)['video_id']):
        yield [dataset[index] for index in group]


def curve_table(points: Sequence[SchedulePoint]) -> str:
    """The figures as text, mAP in per cent."""
    lines = ['schedule   wanted   interval   key share    cost    mAP   slow  medium   fast']
    for point in points:
        names = ('vid/mAP', 'vid/mAP_slow', 'vid/mAP_medium', 'vid/mAP_fast')
        accuracy = [100 * point.metrics[name] for name in names]
        lines.append(
            f'{point.kind:9}{point.wanted:8.3g}{point.interval:11.2f}{1 / point.interval:12.3f}{point.cost:8.3f}'
            + ''.join(f'{value:7.2f}' for value in accuracy)
        )
    return '\n'.join(lines)


def draw_schedules(points: Sequence[SchedulePoint], path: str) -> None:
    """Draws mAP over the average interval, and over the cost.

    Args:
        points (Sequence[SchedulePoint]): What was measured.
        path (str): The picture to write.
    """
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    by_interval, by_cost = figure.subplots(1, 2, sharey=True)
    for kind, style in zip(KINDS, ('o--', 's-'), strict=True):
        line = sorted((p for p in points if p.kind == kind), key=lambda p: p.interval)
        accuracy = [100 * point.metrics['vid/mAP'] for point in line]
        by_interval.plot([point.interval for point in line], accuracy, style, label=kind)
        by_cost.plot([point.cost for point in line], accuracy, style, label=kind)
    by_interval.set(xlabel='average key-frame interval', ylabel='mAP, %', xscale='log')
    ticks = sorted({point.wanted for point in points})
    by_interval.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    by_interval.minorticks_off()
    by_cost.set(xlabel='mean cost of a frame, in dense frames')
    for axes in (by_interval, by_cost):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
