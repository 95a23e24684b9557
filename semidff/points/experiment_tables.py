"""Tables of an experiment: means over the seeds, speed-up over *frame*, gap recovery (semi-DFF's Table 1).

Results are files: ``seedN/rows/NAME/lL/metrics.json`` of ``tools/test.py``, and ``speed-GROUP/speed.json`` of
``tools/analysis/speed.py``.
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Literal, NamedTuple

from semidff.evaluation.metrics import gap_recovery
from semidff.utils.atomic_write import atomic_path, atomic_write, read_json, write_json
from semidff.utils.tables import markdown_table, text_table

from .plot import METHOD_COLORS, Curve, Place, draw_speed, picture

SPEEDS = {
    'table': ('speed-up', 'times faster than the detector'),
    'curve': ('fps', 'frames per second'),
}
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
WITH_DEVIATION = 'mAP', 'mIoU', 'gap recovery'
OF_FIRST_SEED = 'fps', 'speed-up'
MAX_SPREAD = 0.2  # relative interquartile range above which a measured speed is not shown
FEWER = '(n): the figure is that of n seeds only; the other seeds have none.'
BUSY = 'The speed of rows with - varied too much: the machine was busy.'


class Row(NamedTuple):
    """A row at one key-frame interval; rows of one group are compared with its *frame* and *copy*."""

    name: str
    method: str
    key_interval: int
    group: str = 'all'

    @property
    def label(self) -> str:
        return f'{self.name}/l{self.key_interval}'


class Cell(NamedTuple):
    """Mean and sample standard deviation of a figure over the seeds for which it is defined."""

    mean: float | None
    sd: float | None
    values: tuple[float | None, ...]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> 'Cell':
        values = [None if value is None or math.isnan(value) else value for value in values]
        defined = [value for value in values if value is not None]
        mean = statistics.fmean(defined) if defined else None
        return cls(mean, statistics.stdev(defined) if len(defined) > 1 else None, tuple(values))

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


class Block(NamedTuple):
    """Part of a table; the first row is the header."""

    title: str
    rows: list[list[str]]
    note: str = ''


Results = Mapping[Row, Mapping[int, Mapping[str, float | None]]]
"""The metrics of each row, by seed."""

Lines = dict[Row, dict[str, Cell]]
"""The cells of each row, by column; the first column is the accuracy."""


def read_metrics(folder: Path, rows: Sequence[Row], seeds: Sequence[int]) -> Results:
    """Read the metrics by row and seed; ``fps`` and ``speed_up`` are of the first seed, None if they varied too much.

    Seeds and rows without results are left out. ``busy`` is whether the speed varied too much.
    """
    found: dict[Row, dict[int, dict]] = {}
    for row in rows:
        file = folder / f'speed-{row.group}' / 'speed.json'
        speed = read_json(file)['rows'].get(row.label, {}) if file.is_file() else {}
        busy = (speed.get('spread') or 0.0) > MAX_SPREAD
        for seed in seeds:
            file = folder / f'seed{seed}' / 'rows' / row.label / 'metrics.json'
            if file.is_file():
                own = speed if seed == seeds[0] else {}
                metrics = {key: None if busy else own.get(key) for key in ('fps', 'speed_up')}
                metrics = read_json(file) | metrics | dict(busy=busy)
                found.setdefault(row, {})[seed] = metrics
    return found


def build_lines(metrics: Results) -> Lines:
    """Build the cells of each row from its metrics by seed.

    Gap recovery compares with *frame* and *copy* of the same group, seed and key-frame interval and is averaged over
    the seeds afterwards. It is undefined for a seed without these.
    """
    first = next(iter(next(iter(metrics.values())).values()))
    columns = SEGMENTATION if 'seg/mIoU' in first else DETECTION
    accuracy = next(iter(columns.values()))
    references: dict[tuple, float | None] = {}
    for row, seeds in metrics.items():
        for seed, own in seeds.items():
            if missing := [key for key in columns.values() if key not in own]:
                raise ValueError(
                    f'row {row.label!r} (seed {seed}) has no {missing[0]!r}; its metrics are {sorted(own)}'
                )
            key = row.group, row.method, row.method == 'frame' or row.key_interval, seed
            references.setdefault(key, own[accuracy])
    lines = {}
    for row, seeds in metrics.items():
        cells = {
            name: Cell.of([own[key] for own in seeds.values()]) for name, key in columns.items()
        }
        gaps = []
        for seed, own in seeds.items():
            scores = (
                own[accuracy],
                references.get((row.group, 'frame', True, seed)),
                references.get((row.group, 'copy', row.key_interval, seed)),
            )
            defined = row.method != 'frame' and None not in scores
            gaps.append(gap_recovery(*scores) if defined else None)
        lines[row] = cells | {'gap recovery': Cell.of(gaps)}
    return lines


def blocks(
    lines: Lines, tables: Mapping[str, Mapping[str, str]], report: str
) -> dict[str, Collection[Row]]:
    """Arrange the rows by table of a paper, by row (``curve``) or by key-frame interval; the key is the title.

    Args:
        tables: The paper's accuracy by row, by table; '-' where the paper has none.
    """
    frames = [row for row in lines if row.method == 'frame']
    others = [row for row in lines if row.method != 'frame']
    found: dict[str, set[Row]] = {}
    for name, own in tables.items():
        found[f'Table {name}'] = {row for row in lines if row.name in own}
    for row in others if report == 'curve' else ():
        title = f'{row.name} ({row.method})'
        found.setdefault(title, {one for one in frames if one.group == row.group}).add(row)
    for row in () if any(found.values()) else others:
        found.setdefault(f'A key frame every {row.key_interval} frames', {*frames}).add(row)
    found = found if any(found.values()) else {'Every frame': {*frames}}
    return {title: [row for row in lines if row in own] for title, own in found.items() if own}


def format_block(
    title: str,
    rows: Collection[Row],
    lines: Lines,
    paper: Mapping[str, str] | None,
    busy: Collection[Row],
) -> Block:
    """Format the rows of a block, with key-frame interval *l* and the paper's accuracy where it has some."""
    seeds = max(len(cells['gap recovery'].values) for cells in lines.values())
    table = [['', *([] if paper is None else ['l', 'paper']), *lines[next(iter(rows))]]]
    for row in rows:
        interval = '-' if row.method == 'frame' else str(row.key_interval)
        single = title == f'{row.name} ({row.method})'
        own = [] if paper is None else [interval, paper[row.name]]
        cells = [cell.show(name, seeds) for name, cell in lines[row].items()]
        table.append([f'l = {interval}' if single else row.name, *own, *cells])
    fewer = any(text.endswith(')') for own in table[1:] for text in own[1:])
    title += f', {seeds} seeds (mean ± standard deviation)' if seeds > 1 else ', one seed'
    return Block(title, table, ' '.join([FEWER] * fewer + [BUSY] * any(r in busy for r in rows)))


def draw(lines: Lines, path: Path, column: str, title: str) -> None:
    """Plot accuracy over a speed: a line for each row with a point for each key-frame interval."""
    from matplotlib.colors import TABLEAU_COLORS

    last = {row.method: row.name for row in lines}
    colors = {name: METHOD_COLORS[m] for m, name in last.items() if m in METHOD_COLORS}
    others = cycle([color for color in TABLEAU_COLORS if color not in colors.values()])
    accuracy, curves = next(iter(next(iter(lines.values())))), {}
    for row, cells in lines.items():
        if None not in (cells[column].mean, cells[accuracy].mean):
            values = cells[column].mean, 100 * cells[accuracy].mean
            interval = None if row.method == 'frame' else row.key_interval
            point = Place(*values, interval, 100 * (cells[accuracy].sd or 0.0))
            curves.setdefault(row.name, []).append(point)
    drawn = [Curve(n, colors.get(n) or next(others), points) for n, points in curves.items()]
    intervals = {point.key_interval for points in curves.values() for point in points} - {None}
    with atomic_path(path) as unfinished, picture(unfinished) as (axes,):
        draw_speed(axes, drawn, intervals, title, f'{accuracy} [%]')


def make_tables(
    folder: str,
    *,
    rows: Sequence[str],
    seeds: Sequence[int] = (0,),
    paper: dict[str, str] | None = None,
    report: Literal['table', 'curve'] = 'table',
) -> str:
    """Write ``table.md``, ``table.json`` and a picture to the folder of an experiment, and return the table as text.

    Args:
        folder: Folder of the experiment, see docs/experiments.md.
        rows: Rows, each as NAME,METHOD,L,GROUP with its key-frame interval.
        seeds: Seeds.
        paper: The accuracy in tables of a paper, each as TABLE:ROW=MAP; - where the paper has none.
        report: table, by table of the paper or key-frame interval, or curve, by row, and accuracy over speed.
    """
    folder, tables = Path(folder), {}
    for name, accuracy in (paper or {}).items():
        table, row = name.split(':')
        tables.setdefault(table, {})[row] = accuracy
    fields = (row.split(',') for row in rows)
    every = [Row(name, method, int(interval), group) for name, method, interval, group in fields]
    metrics = read_metrics(folder, every, seeds)
    if not metrics:
        raise FileNotFoundError(f'{folder}: has no results of these rows and seeds')
    lines = build_lines(metrics)
    busy = {row for row, own in metrics.items() if any(one['busy'] for one in own.values())}
    parts = [
        format_block(title, members, lines, tables.get(title.removeprefix('Table ')), busy)
        for title, members in blocks(lines, tables, report).items()
    ]
    with atomic_write(folder / 'table.md') as file:
        own = [f'### {title}\n\n{markdown_table(rows)}\n\n{note}' for title, rows, note in parts]
        file.write('\n\n'.join(map(str.strip, own)) + '\n')
    content = [
        dict(row._asdict(), seeds=list(metrics[row]))
        | {name: cell._asdict() for name, cell in cells.items()}
        for row, cells in lines.items()
    ]
    write_json(content, folder / 'table.json', indent=2)
    draw(lines, folder / f'{report}.png', *SPEEDS[report])
    own = [f'{title}:\n{text_table(rows)}\n{note}' for title, rows, note in parts]
    return '\n\n'.join(map(str.strip, own)) + '\n'
