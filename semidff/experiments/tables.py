"""Tables of an experiment: means over the seeds, speed-up over *frame*, gap recovery (semi-DFF's Table 1)."""

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from semidff.evaluation.metrics import gap_recovery
from semidff.utils.tables import markdown_table, text_table

from .experiment import Evaluation, Row

# column -> key of the metrics; the first column is the accuracy
DETECTION = {
    'mAP': 'vid/mAP',
    'slow': 'vid/mAP_slow',
    'medium': 'vid/mAP_medium',
    'fast': 'vid/mAP_fast',
    'fps': 'fps',
    'speed-up': 'speed_up',
}
SEGMENTATION = {'mIoU': 'seg/mIoU', 'fps': 'fps', 'speed-up': 'speed_up'}
# column -> factor, digits, unit; all others are shares in percent with one digit
FORMATS = {'fps': (1, 2, ''), 'speed-up': (1, 2, '×'), 'gap recovery': (100, 1, ' %')}
# Slices vary like mAP; all deviations are in table.json.
WITH_DEVIATION = ('mAP', 'mIoU', 'gap recovery')
# Speed is measured with the first seed only.
OF_FIRST_SEED = ('fps', 'speed-up')
OF_VIDEO = 'vid/mAP_of/'
AT_DISTANCE = re.compile(r'.*/(mAP|mIoU)_at/(\d+)')
FEWER = '(n): the figure is that of n seeds only; the other seeds have none.'
BUSY = 'The speed of rows with - varied too much: the machine was busy.'


class Measurement(NamedTuple):
    """Metrics of one evaluation, None or NaN where undefined; ``busy`` if its speed varied too much to be shown."""

    evaluation: Evaluation
    metrics: Mapping[str, float | None]
    busy: bool = False


@dataclass(frozen=True)
class Cell:
    """Mean and sample standard deviation of a figure over the seeds for which it is defined."""

    mean: float | None
    sd: float | None
    values: tuple[float | None, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> 'Cell':
        defined = [value for value in values if value is not None]
        mean = statistics.fmean(defined) if defined else None
        sd = statistics.stdev(defined) if len(defined) > 1 else None
        return cls(mean, sd, tuple(values))

    def show(self, column: str, seeds: int = 1) -> str:
        """Format the cell; if it has fewer than the ``seeds`` of its table, their number is added in brackets."""
        if self.mean is None:
            return '-'
        factor, digits, unit = FORMATS.get(column, (100, 1, ''))
        shown = f'{factor * self.mean:.{digits}f}'
        if self.sd is not None and column in WITH_DEVIATION:
            shown += f' ± {factor * self.sd:.{digits}f}'
        count = sum(value is not None for value in self.values)
        fewer = column not in OF_FIRST_SEED and count < seeds
        return shown + unit + (f' ({count})' if fewer else '')


class Line(NamedTuple):
    """Line of a table: a row at one key-frame interval, with a cell for each column.

    Attributes:
        accuracy: ``mAP``, or ``mIoU`` of segmentation.
        cells: By column; of accuracies at distances from the key frame, by distance, and ``mean``.
    """

    row: Row
    key_interval: int | None
    seeds: tuple[int, ...]
    accuracy: str
    cells: Mapping[Any, Cell]
    busy: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the line for a file: shares in [0, 1], every seed's value, null where undefined."""
        start = {'row': self.row.name, 'method': self.row.method}
        if 'mean' in self.cells:
            *cells, mean = (cell.mean for cell in self.cells.values())
            return {**start, f'{self.accuracy}_at': cells, 'mean': mean}
        paper = {'paper': dict(self.row.tables)} if self.row.tables else {}
        cells = {column: vars(cell) for column, cell in self.cells.items()}
        return {**start, 'key_interval': self.key_interval, 'seeds': self.seeds, **paper, **cells}


class Block(NamedTuple):
    """Part of a table with a title and a note of its own; the first row is the header."""

    title: str
    rows: list[list[str]]
    note: str = ''


class Table(NamedTuple):
    """The table of all videos, or of the one that it is named after."""

    video: str
    lines: list[Line]
    blocks: list[Block]

    def text(self) -> str:
        parts = [f'{title}:\n{text_table(rows)}\n{note}' for title, rows, note in self.blocks]
        return '\n\n'.join(map(str.strip, parts)) + '\n'

    def markdown(self) -> str:
        parts = [f'### {t}\n\n{markdown_table(rows)}\n\n{note}' for t, rows, note in self.blocks]
        return '\n\n'.join(map(str.strip, parts)) + '\n'


def build_tables(measurements: Sequence[Measurement], report: str = 'table') -> list[Table]:
    """Build the table of an experiment's ``report`` and, where there are metrics of each video, the videos' tables."""
    if report == 'distances':
        lines = [distance_line(item) for item in measurements]
        return [Table('', lines, [distance_block(lines)])]
    if report == 'curve':
        groups: dict[str, list[Measurement]] = {}
        for item in sorted(measurements, key=lambda item: item.evaluation.row.method != 'frame'):
            groups.setdefault(item.evaluation.row.group, []).append(item)
        parts = [build_lines(group) for group in groups.values()]
        return [Table('', sum(parts, []), [block for part in parts for block in by_row(part)])]
    tables = []
    for video, own in {'': measurements, **by_video(measurements)}.items():
        lines = build_lines(own)
        arrange = by_table if any(line.row.tables for line in lines) else by_interval
        tables.append(Table(video, lines, arrange(lines)))
    return tables


def build_lines(measurements: Iterable[Measurement]) -> list[Line]:
    """Build the lines of a table, in the order of the measurements.

    Gap recovery compares with *frame* and *copy* of the same group, seed and key-frame interval and is averaged over
    the seeds afterwards. It is undefined for a seed without these.
    """
    references: dict[tuple, float | None] = {}
    figures: dict[tuple[str, int | None], list[tuple[Measurement, dict]]] = {}
    for item in measurements:
        one, row = item.evaluation, item.evaluation.row
        columns = SEGMENTATION if 'seg/mIoU' in item.metrics else DETECTION
        if missing := [key for key in columns.values() if key not in item.metrics]:
            raise ValueError(
                f'row {one.label!r} (seed {one.seed}) has no {missing[0]!r}; its metrics are {sorted(item.metrics)}'
            )
        own = {column: _defined(item.metrics[key]) for column, key in columns.items()}
        key = row.group, row.method, one.key_interval, one.seed
        references.setdefault(key, next(iter(own.values())))
        figures.setdefault((row.name, one.key_interval), []).append((item, own))
    lines = []
    for (_, interval), members in figures.items():
        for item, own in members:
            row, seed = item.evaluation.row, item.evaluation.seed
            frame = references.get((row.group, 'frame', None, seed))
            copy = references.get((row.group, 'copy', interval, seed))
            scores = next(iter(own.values())), frame, copy
            defined = row.method != 'frame' and None not in scores
            own['gap recovery'] = _defined(gap_recovery(*scores)) if defined else None
        seeds = tuple(item.evaluation.seed for item, _ in members)
        cells = {column: Cell.of([own[column] for _, own in members]) for column in own}
        busy = any(item.busy for item, _ in members)
        lines.append(Line(row, interval, seeds, next(iter(own)), cells, busy))
    return lines


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def by_video(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    """Return the measurements of each video, where ``VIDMetric(per_video=True)`` gave its mAP."""
    videos: dict[str, list[Measurement]] = {}
    by_speed = dict.fromkeys(key for key in DETECTION.values() if key.startswith('vid/mAP_'))
    for item in measurements:
        for key, value in item.metrics.items():
            if key.startswith(OF_VIDEO):
                own = item._replace(metrics={**item.metrics, **by_speed, 'vid/mAP': value})
                videos.setdefault(key.removeprefix(OF_VIDEO), []).append(own)
    return videos


def by_interval(lines: Sequence[Line]) -> list[Block]:
    """Arrange a block for each key-frame interval; *frame*, which has none, is in every block."""
    intervals = {line.key_interval: None for line in lines if line.key_interval is not None}
    blocks = []
    for interval in intervals or [None]:
        own = [line for line in lines if line.key_interval in (interval, None)]
        title = 'Every frame' if interval is None else f'A key frame every {interval} frames'
        blocks.append(_block(title + _seeds(own), own))
    return blocks


def by_table(lines: Sequence[Line]) -> list[Block]:
    """Arrange a block for each table of a paper, with key-frame interval *l* and the paper's mAP."""
    blocks = []
    for table in sorted({table for line in lines for table in line.row.tables}):
        own = [line for line in lines if table in line.row.tables]
        block = _block(f'Table {table}{_seeds(own)}', own)
        block.rows[0][1:1] = ['l', 'paper']
        for line, row in zip(own, block.rows[1:], strict=True):
            paper = line.row.tables[table]
            row[1:1] = [str(line.key_interval or '-'), '-' if paper is None else f'{paper:.2f}']
        blocks.append(block)
    return blocks


def by_row(lines: Sequence[Line]) -> list[Block]:
    """Arrange a block for each row, its key-frame intervals below *frame*; omit undefined columns."""
    columns = [c for c in lines[0].cells if any(line.cells[c].mean is not None for line in lines)]
    frames = [line for line in lines if line.key_interval is None]
    rows: dict[str, list[Line]] = {}
    for line in lines:
        if line.key_interval is not None:
            rows.setdefault(line.row.name, []).append(line)
    blocks = []
    for name, own in rows.items():
        block = _block(f'{name} ({own[0].row.method})', [*frames, *own], columns)
        for line, row in zip(own, block.rows[1 + len(frames) :], strict=True):
            row[0] = f'l = {line.key_interval}'
        blocks.append(block)
    return blocks or [_block(line.row.name, frames, columns) for line in frames]


def distance_line(item: Measurement) -> Line:
    """Return the accuracies at distances 0, 1, ... from the key frame, of a test with protocol ``pairs`` (DFF 5.2).

    *frame* has one value. The cell ``mean`` is the mean over the distances: the accuracy at a key frame every l frames.
    """
    row = item.evaluation.row
    found = [(AT_DISTANCE.fullmatch(key), value) for key, value in item.metrics.items()]
    values = {int(match[2]): _defined(value) for match, value in found if match}
    if not values:
        raise ValueError(
            f'row {row.name!r} has no mAP at distances (vid/mAP_at/0, ...); its metrics are {sorted(item.metrics)}'
        )
    cells: dict[Any, Cell] = {d: Cell.of([values[d]]) for d in sorted(values)}
    cells['mean'] = Cell.of([Cell.of(list(values.values())).mean])
    accuracy = next(match[1] for match, _ in found if match)
    return Line(row, None, (item.evaluation.seed,), accuracy, cells)


def distance_block(lines: Sequence[Line]) -> Block:
    """Arrange a column for each distance; *frame*, which has no key frame, has the same value in all."""
    count = max(len(line.cells) for line in lines) - 1
    rows = [['', *(f'd = {d}' for d in range(count)), 'mean']]
    for line in lines:
        *cells, mean = line.cells.values()
        cells *= count if line.row.method == 'frame' else 1
        rows.append([line.row.name, *(cell.show('mAP') for cell in (*cells, mean))])
    return Block('Accuracy at each distance d from the key frame', rows)


def _block(title: str, lines: Sequence[Line], columns: Sequence[str] = ()) -> Block:
    columns, seeds = columns or list(lines[0].cells), _count_seeds(lines)
    rows = [[line.cells[column].show(column, seeds) for column in columns] for line in lines]
    fewer = any(cell.endswith(')') for row in rows for cell in row)
    notes = [FEWER] * fewer + [BUSY] * any(line.busy for line in lines)
    named = [[line.row.name, *row] for line, row in zip(lines, rows, strict=True)]
    return Block(title, [['', *columns], *named], ' '.join(notes))


def _count_seeds(lines: Sequence[Line]) -> int:
    return len({seed for line in lines for seed in line.seeds})


def _seeds(lines: Sequence[Line]) -> str:
    """Return the end of a title, which tells how many seeds there are."""
    seeds = _count_seeds(lines)
    return f', {seeds} seeds (mean ± standard deviation)' if seeds > 1 else ', one seed'
