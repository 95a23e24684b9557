"""semi-DFF's Table 1: means over the seeds, speed-up over *frame* and gap recovery."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from semidff.evaluation.gap import gap_recovery

# column name -> key of the metrics that the test writes, whether it is a share shown in percent
MEASURED = {
    'mAP': ('vid/mAP', True),
    'slow': ('vid/mAP_slow', True),
    'medium': ('vid/mAP_medium', True),
    'fast': ('vid/mAP_fast', True),
    'fps': ('fps', False),
}
OF_VIDEO = 'vid/mAP_of/'
COLUMNS = (*MEASURED, 'speed-up', 'gap recovery')


@dataclass(frozen=True)
class Measurement:
    """What one evaluation gave.

    Attributes:
        row: The row's name.
        method: The row's method, as of ``tools/test.py``.
        key_interval: Key-frame duration l; None for 'frame', which has no key frames to choose.
        seed: The seed of the weights.
        metrics: The test's metrics; mAP in [0, 1], ``None`` or NaN where a value is undefined.
    """

    row: str
    method: str
    key_interval: int | None
    seed: int
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class Cell:
    """A figure of the table: mean and sample standard deviation over the seeds that have one."""

    mean: float | None
    sd: float | None
    values: tuple[float | None, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Cell:
        """Summarizes one value per seed; the deviation needs two."""
        defined = [value for value in values if value is not None]
        mean = statistics.fmean(defined) if defined else None
        sd = statistics.stdev(defined) if len(defined) > 1 else None
        return cls(mean, sd, tuple(values))


@dataclass(frozen=True)
class Entry:
    """A line of the table: a row at one key interval, with a cell for each of ``COLUMNS``."""

    row: str
    method: str
    key_interval: int | None
    seeds: tuple[int, ...]
    cells: Mapping[str, Cell]


def build_table(measurements: Iterable[Measurement]) -> list[Entry]:
    """Builds the lines of Table 1, in the order of the measurements.

    Speed-up and gap recovery compare with *frame* and *copy* of the same seed and key interval and
    are averaged over the seeds afterwards. A seed that lacks one of them gives no value.

    Raises:
        ValueError: If a metric is missing or a row was measured twice.
    """
    by_line: dict[tuple[str, int | None], list[Measurement]] = {}
    for item in measurements:
        by_line.setdefault((item.row, item.key_interval), []).append(item)
    references = _References([item for items in by_line.values() for item in items])
    return [_entry(row, interval, items, references) for (row, interval), items in by_line.items()]


def by_video(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    """The same measurements for each video alone, where ``VIDMetric(per_video=True)`` gave its mAP."""
    videos: dict[str, list[Measurement]] = {}
    by_speed = {key: None for key, _ in MEASURED.values() if key.startswith('vid/mAP_')}
    for item in measurements:
        for key, value in item.metrics.items():
            if key.startswith(OF_VIDEO):
                alone = {**item.metrics, **by_speed, 'vid/mAP': value}
                videos.setdefault(key.removeprefix(OF_VIDEO), []).append(
                    replace(item, metrics=alone)
                )
    return videos


class _References:
    """The *frame* and *copy* measurements that others are compared with."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        self._found: dict[tuple[str, int | None, int], Measurement] = {}
        for item in measurements:
            if item.method in ('frame', 'copy'):
                self._found.setdefault((item.method, item.key_interval, item.seed), item)

    def value(self, method: str, column: str, like: Measurement) -> float | None:
        interval = None if method == 'frame' else like.key_interval
        item = self._found.get((method, interval, like.seed))
        return None if item is None else _measured(item, column)


def _entry(
    row: str, interval: int | None, items: Sequence[Measurement], references: _References
) -> Entry:
    seeds = tuple(item.seed for item in items)
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            f'row {row!r} at key interval {interval} was measured twice: seeds {seeds}.'
        )
    columns = {column: [_measured(item, column) for item in items] for column in MEASURED}
    columns['speed-up'] = [_speed_up(item, references) for item in items]
    columns['gap recovery'] = [_recovery(item, references) for item in items]
    cells = {column: Cell.of(values) for column, values in columns.items()}
    return Entry(row, items[0].method, interval, seeds, cells)


def _measured(item: Measurement, column: str) -> float | None:
    key, _ = MEASURED[column]
    if key not in item.metrics:
        raise ValueError(
            f'row {item.row!r} (key interval {item.key_interval}, seed {item.seed}) has no '
            f'{key!r}; its metrics are {sorted(item.metrics)}. Does its test_evaluator give it?'
        )
    return _defined(item.metrics[key])


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _speed_up(item: Measurement, references: _References) -> float | None:
    own, frame = _measured(item, 'fps'), references.value('frame', 'fps', item)
    return own / frame if own is not None and frame else None


def _recovery(item: Measurement, references: _References) -> float | None:
    score = _measured(item, 'mAP')
    frame, copy = (references.value(method, 'mAP', item) for method in ('frame', 'copy'))
    if item.method == 'frame' or None in (score, frame, copy):
        return None
    return _defined(gap_recovery(score=score, frame=frame, copy=copy))
