"""Tables of an experiment: means over seeds, speed-up over *frame*, gap recovery.

Results are files: ``seedN/rows/NAME/lL/metrics.json`` of ``tools/test.py``, and
``speed-GROUP/speed.json`` of ``tools/analysis/speed.py``.
"""

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Literal, NamedTuple

from semidff.evaluation.metrics import gap_recovery
from semidff.utils.atomic_write import atomic_write, read_json, write_json
from semidff.utils.tables import markdown_table, text_table

from .plot import METHOD_COLORS, Place, draw_curve, picture, scale_axes

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
    """A row at one key-frame interval, compared with *frame* and *copy* of its group."""

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
        """Format the cell, with its number of seeds in brackets if the table has more."""
        if self.mean is None:
            return '-'
        factor, digits, unit = FORMATS.get(column, (100, 1, ''))
        shown = f'{factor * self.mean:.{digits}f}'
        if self.sd is not None and column in WITH_DEVIATION:
            shown += f' ± {factor * self.sd:.{digits}f}'
        count = sum(value is not None for value in self.values)
        fewer = column not in OF_FIRST_SEED and count < seeds
        return shown + unit + (f' ({count})' if fewer else '')


Results = Mapping[Row, Mapping[int, Mapping[str, float | None]]]
"""Metrics of each row, by seed."""

Lines = dict[Row, dict[str, Cell]]
"""Cells of each row, by column; the first column is the accuracy."""


def read_metrics(folder: Path, rows: Sequence[Row], seeds: Sequence[int]) -> Results:
    """Read the metrics by row and seed; seeds and rows without results are left out.

    ``fps`` and ``speed_up`` are of the first seed, None if they varied too much; ``busy`` is
    whether they did.
    """
    results: dict[Row, dict[int, dict]] = {}
    for row in rows:
        file = folder / f'speed-{row.group}' / 'speed.json'
        speed = read_json(file)['rows'].get(row.label, {}) if file.is_file() else {}
        busy = (speed.get('spread') or 0.0) > MAX_SPREAD
        for seed in seeds:
            file = folder / f'seed{seed}' / 'rows' / row.label / 'metrics.json'
            if file.is_file():
                known = {} if busy or seed != seeds[0] else speed
                metrics = dict(read_json(file), busy=busy)
                metrics |= {key: known.get(key) for key in ('fps', 'speed_up')}
                results.setdefault(row, {})[seed] = metrics
    return results


def build_lines(results: Results) -> Lines:
    """Build the cells of each row.

    Gap recovery compares with *frame* and *copy* of the same group, seed and key-frame interval,
    without which it is undefined, and is averaged over the seeds afterwards.
    """
    first = next(iter(next(iter(results.values())).values()))
    columns = SEGMENTATION if 'seg/mIoU' in first else DETECTION
    accuracy = next(iter(columns.values()))
    references: dict[tuple, float | None] = {}
    for row, seeds in results.items():
        interval = None if row.method == 'frame' else row.key_interval
        for seed, metrics in seeds.items():
            references.setdefault((row.group, row.method, interval, seed), metrics[accuracy])
    lines = {}
    for row, seeds in results.items():
        gaps = []
        for seed, metrics in seeds.items():
            frame = references.get((row.group, 'frame', None, seed))
            copy = references.get((row.group, 'copy', row.key_interval, seed))
            defined = row.method != 'frame' and None not in (metrics[accuracy], frame, copy)
            gaps.append(gap_recovery(metrics[accuracy], frame, copy) if defined else None)
        lines[row] = {
            name: Cell.of([metrics[key] for metrics in seeds.values()])
            for name, key in columns.items()
        }
        lines[row]['gap recovery'] = Cell.of(gaps)
    return lines


def blocks(
    lines: Lines, tables: Mapping[str, Mapping[str, str]], report: str
) -> dict[str, Collection[Row]]:
    """Return the rows of each block by its title.

    Blocks are tables of a paper, rows (``curve``) or key-frame intervals.

    Args:
        tables: The paper's accuracy by row, by table; '-' where the paper has none.
    """
    frames = [row for row in lines if row.method == 'frame']
    others = [row for row in lines if row.method != 'frame']
    rows_of: dict[str, set[Row]] = {}
    for name, accuracies in tables.items():
        rows_of[f'Table {name}'] = {row for row in lines if row.name in accuracies}
    for row in others if report == 'curve' else ():
        title = f'{row.name} ({row.method})'
        rows_of.setdefault(title, {frame for frame in frames if frame.group == row.group}).add(row)
    for row in () if any(rows_of.values()) else others:
        rows_of.setdefault(f'A key frame every {row.key_interval} frames', {*frames}).add(row)
    rows_of = rows_of if any(rows_of.values()) else {'Every frame': {*frames}}
    return {title: [row for row in lines if row in rows] for title, rows in rows_of.items() if rows}


def format_block(
    title: str, rows: Collection[Row], lines: Lines, paper: Mapping[str, str] | None
) -> tuple[str, list[list[str]]]:
    """Return the whole title of a block, and its table, the header first.

    With the paper's accuracies, it has columns of the key-frame interval *l* and of these.
    """
    seeds = max(len(cells['gap recovery'].values) for cells in lines.values())
    table = [['', *([] if paper is None else ['l', 'paper']), *lines[next(iter(rows))]]]
    for row in rows:
        interval = '-' if row.method == 'frame' else str(row.key_interval)
        name = f'l = {interval}' if title == f'{row.name} ({row.method})' else row.name
        known = [] if paper is None else [interval, paper[row.name]]
        cells = [cell.show(column, seeds) for column, cell in lines[row].items()]
        table.append([name, *known, *cells])
    return title + (
        f', {seeds} seeds (mean ± standard deviation)' * (seeds > 1) or ', one seed'
    ), table


def draw(lines: Lines, path: Path, column: str, title: str) -> None:
    """Plot accuracy over a speed: a line for each row, a point for each key-frame interval."""
    from matplotlib.colors import TABLEAU_COLORS

    colors = {row.name: METHOD_COLORS.get(row.method) for row in lines}
    others = cycle([color for color in TABLEAU_COLORS if color not in colors.values()])
    accuracy = next(iter(next(iter(lines.values()))))
    curves: dict[str, list[Place]] = {}
    for row, cells in lines.items():
        speed, (mean, sd, _) = cells[column].mean, cells[accuracy]
        if None not in (speed, mean):
            interval = 1 if row.method == 'frame' else row.key_interval
            place = Place(speed, 100 * mean, interval, 100 * (sd or 0.0))
            curves.setdefault(row.name, []).append(place)
    with picture(path) as (axes,):
        for name, places in curves.items():
            draw_curve(axes, name, colors[name] or next(others), places)
        scale_axes(axes, title, f'{accuracy} [%]')


def make_tables(
    folder: str,
    *,
    rows: Sequence[str],
    seeds: Sequence[int] = (0,),
    paper: dict[str, str] | None = None,
    report: Literal['table', 'curve'] = 'table',
) -> str:
    """Write ``table.md``, ``table.json`` and a picture to the folder of an experiment.

    Args:
        folder: Folder of the experiment, see docs/experiments.md.
        rows: Rows, each as NAME,METHOD,L,GROUP with its key-frame interval.
        seeds: Seeds.
        paper: The accuracy in tables of a paper, each as TABLE:ROW=MAP; - where the paper has none.
        report: table, by table of the paper or key-frame interval, or curve, by row, and accuracy
            over speed.

    Returns:
        The table as text.
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
    lines, parts = build_lines(metrics), []
    for title, members in blocks(lines, tables, report).items():
        title, table = format_block(title, members, lines, tables.get(title.removeprefix('Table ')))
        has_fewer = any(cell.endswith(')') for line in table[1:] for cell in line[1:])
        is_busy = any(seed['busy'] for row in members for seed in metrics[row].values())
        parts.append((title, table, ' '.join([FEWER] * has_fewer + [BUSY] * is_busy)))
    with atomic_write(folder / 'table.md') as file:
        texts = [
            f'### {title}\n\n{markdown_table(table)}\n\n{note}' for title, table, note in parts
        ]
        file.write('\n\n'.join(map(str.strip, texts)) + '\n')
    content = [
        dict(row._asdict(), seeds=list(metrics[row]))
        | {name: cell._asdict() for name, cell in cells.items()}
        for row, cells in lines.items()
    ]
    write_json(content, folder / 'table.json', indent=2)
    draw(lines, folder / f'{report}.png', *SPEEDS[report])
    texts = [f'{title}:\n{text_table(table)}\n{note}' for title, table, note in parts]
    return '\n\n'.join(map(str.strip, texts)) + '\n'
