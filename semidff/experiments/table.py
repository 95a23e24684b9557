"""semi-DFF's Table 1: means over the seeds, speed-up over *frame*, gap recovery; mAP at distances."""

import json
import math
import re
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from semidff.evaluation.metrics import gap_recovery

from .experiment import Experiment

# column name -> key of the metrics
MEASURED = {
    'mAP': 'vid/mAP',
    'slow': 'vid/mAP_slow',
    'medium': 'vid/mAP_medium',
    'fast': 'vid/mAP_fast',
    'fps': 'fps',
}
# those of a test with VideoIoUMetric
SEGMENTATION = {'mAP': 'seg/mIoU', 'fps': 'fps'}
OF_VIDEO = 'vid/mAP_of/'
AT_DISTANCE = re.compile(r'.*/(?:mAP|mIoU)_at/(\d+)')
COLUMNS = (*MEASURED, 'speed-up', 'gap recovery')
MAX_SPREAD = 0.2  # relative interquartile range above which a measured speed is not shown


@dataclass(frozen=True)
class Measurement:
    """Metrics of one evaluation.

    Attributes:
        method: The row's method, as in ``tools/test.py``.
        key_interval: Key-frame interval l; None for *frame*, which does not depend on it.
        metrics: Metrics of the test; mAP or mIoU in [0, 1], ``None`` or NaN where a value is undefined.
            ``speed_up`` is the ratio of ``fps`` to that of *frame*.
        group: Name that rows with the same detector share.
        busy: Whether the measured speed varied too much to be shown.
        tables: The paper's mAP in percent, or None, for each table that the row is in.
    """

    row: str
    method: str
    key_interval: int | None
    seed: int
    metrics: Mapping[str, float | None]
    group: str = ''
    busy: bool = False
    tables: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def accuracy(self) -> str:
        """What the column mAP holds: ``mAP``, or ``mIoU`` of segmentation."""
        return 'mIoU' if 'seg/mIoU' in self.metrics else 'mAP'


@dataclass(frozen=True)
class Cell:
    """Mean and sample standard deviation of a figure over the seeds for which it is defined."""

    mean: float | None
    sd: float | None
    values: tuple[float | None, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> 'Cell':
        """Summarize one value per seed; the deviation needs two."""
        defined = [value for value in values if value is not None]
        mean = statistics.fmean(defined) if defined else None
        sd = statistics.stdev(defined) if len(defined) > 1 else None
        return cls(mean, sd, tuple(values))

    @property
    def count(self) -> int:
        """Number of seeds for which the figure is defined."""
        return sum(value is not None for value in self.values)


@dataclass(frozen=True)
class Entry:
    """Line of the table: a row at one key-frame interval, with a cell for each of ``COLUMNS``."""

    row: str
    method: str
    key_interval: int | None
    seeds: tuple[int, ...]
    cells: Mapping[str, Cell]
    busy: bool = False
    tables: Mapping[str, float | None] = field(default_factory=dict)
    accuracy: str = 'mAP'


def collect(experiment: Experiment, done: Collection[str]) -> list[Measurement]:
    """Read the metrics of the rows that have been evaluated so far.

    Args:
        done: Names of the steps that have succeeded as they are defined now; metrics of others are left out.

    ``fps`` and ``speed_up`` are those of the measurement of speed: the evaluations' own times
    depend on what ran beside them.
    """
    found, files = [], {}
    for run in experiment.rows:
        if run.step.name not in done:
            continue
        metrics = json.loads(run.step.product.read_text()) | {'fps': None, 'speed_up': None}
        path = experiment.speed_file(run.group)
        if path not in files:  # the step is named after its folder
            files[path] = json.loads(path.read_text())['rows'] if path.parent.name in done else {}
        speed = files[path].get(run.label, {}) if run.seed == experiment.rows[0].seed else {}
        busy = (speed.get('spread') or 0.0) > MAX_SPREAD
        if speed and not busy:
            metrics |= {'fps': speed['fps'], 'speed_up': speed['speed_up']}
        line = (run.row, run.method, run.key_interval, run.seed, metrics)
        found.append(Measurement(*line, run.group, busy, run.tables))
    return found


def build_table(measurements: Iterable[Measurement]) -> list[Entry]:
    """Build the lines of Table 1, in the order of the measurements.

    Gap recovery compares with *frame* and *copy* of the same group, seed and key-frame interval and
    is averaged over the seeds afterwards. It is undefined for a seed without these.

    Raises:
        ValueError: If a metric is missing or a row was measured twice.
    """
    items = list(measurements)
    figures = [{column: _measured(item, column) for column in MEASURED} for item in items]
    references: dict[tuple[str, str, int | None, int], dict] = {}
    for item, own in zip(items, figures, strict=True):
        references.setdefault((item.group, item.method, item.key_interval, item.seed), own)
    lines: dict[tuple[str, int | None], list[tuple[Measurement, dict]]] = {}
    for item, own in zip(items, figures, strict=True):
        frame = references.get((item.group, 'frame', None, item.seed), {})
        copy = references.get((item.group, 'copy', item.key_interval, item.seed), {})
        compared = {'speed-up': _defined(item.metrics['speed_up']), 'gap recovery': None}
        scores = dict(score=own['mAP'], frame=frame.get('mAP'), copy=copy.get('mAP'))
        if item.method != 'frame' and None not in scores.values():
            compared['gap recovery'] = _defined(gap_recovery(**scores))
        lines.setdefault((item.row, item.key_interval), []).append((item, own | compared))
    entries = []
    for (row, interval), line in lines.items():
        seeds = tuple(item.seed for item, _ in line)
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f'row {row!r} at key interval {interval} was measured twice: seeds {seeds}.'
            )
        cells = {column: Cell.of([own[column] for _, own in line]) for column in COLUMNS}
        busy = any(item.busy for item, _ in line)
        first = line[0][0]
        entries.append(
            Entry(row, first.method, interval, seeds, cells, busy, first.tables, first.accuracy)
        )
    return entries


def by_video(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    """Return the measurements of each video, where ``VIDMetric(per_video=True)`` gave its mAP."""
    videos: dict[str, list[Measurement]] = {}
    by_speed = {key: None for key in MEASURED.values() if key.startswith('vid/mAP_')}
    for item in measurements:
        for key, value in item.metrics.items():
            if key.startswith(OF_VIDEO):
                metrics = {**item.metrics, **by_speed, 'vid/mAP': value}
                video = videos.setdefault(key.removeprefix(OF_VIDEO), [])
                video.append(replace(item, metrics=metrics))
    return videos


@dataclass(frozen=True)
class DistanceLine:
    """mAP of a row at each distance from the key frame, from a test with protocol ``pairs`` (DFF 5.2).

    Attributes:
        accuracies: mAP, or mIoU of segmentation, in [0, 1] at distances 0, 1, ..., None where it is undefined; one
            value for *frame*.
    """

    row: str
    method: str
    accuracies: tuple[float | None, ...]
    accuracy: str = 'mAP'

    @classmethod
    def of(cls, item: Measurement) -> 'DistanceLine':
        """Read the mAP at each distance from the metrics of a test.

        Raises:
            ValueError: If there is none.
        """
        found = [(AT_DISTANCE.fullmatch(key), value) for key, value in item.metrics.items()]
        values = {int(match[1]): _defined(value) for match, value in found if match}
        if not values:
            raise ValueError(
                f'row {item.row!r} has no mAP at distances (vid/mAP_at/0, ...); its metrics are '
                f"{sorted(item.metrics)}. Is VIDMetric or VideoIoUMetric the config's test_evaluator?"
            )
        accuracies = tuple(values[distance] for distance in sorted(values))
        return cls(item.row, item.method, accuracies, item.accuracy)

    @property
    def mean(self) -> float | None:
        """Mean over the distances, which is the mAP at a key frame every l frames."""
        return Cell.of(self.accuracies).mean


def _measured(item: Measurement, column: str) -> float | None:
    key = (MEASURED if item.accuracy == 'mAP' else SEGMENTATION).get(column)
    if key is None:
        return None
    if key not in item.metrics:
        raise ValueError(
            f'row {item.row!r} (key interval {item.key_interval}, seed {item.seed}) has no '
            f'{key!r}; its metrics are {sorted(item.metrics)}. Does its test_evaluator compute it?'
        )
    return _defined(item.metrics[key])


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
