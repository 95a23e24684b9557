"""Writes the table: to the console, as Markdown and JSON, with a plot beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .distance import DistanceLine
from .plot import draw, draw_curve, draw_distances
from .spec import Chain
from .table import COLUMNS, MEASURED, Cell, Entry, Measurement, build_table

IN_PERCENT = {name for name, (_, share) in MEASURED.items() if share} | {'gap recovery'}
# Slices and speeds vary alike; their deviations are in table.json.
WITH_SPREAD = {'mAP', 'gap recovery'}
DIGITS = {'fps': 2, 'speed-up': 2}


class Block(NamedTuple):
    """A part of the table under a title of its own: names of the columns, and lines."""

    title: str
    columns: tuple[str, ...]
    lines: list[list[str]]


def collect(chain: Chain) -> list[Measurement]:
    """Reads the metrics of the rows that have been evaluated so far."""
    found = []
    for run in chain.rows:
        path = run.step.product
        if path is not None and path.exists():
            metrics = json.loads(path.read_text())
            found.append(Measurement(run.row, run.method, run.key_interval, run.seed, metrics))
    return found


def write_report(measurements: Sequence[Measurement], folder: Path) -> str:
    """Writes ``table.md``, ``table.json`` and ``table.png`` into a folder.

    Returns:
        The table as text, for the console.
    """
    entries = build_table(measurements)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'table.md').write_text(markdown(entries))
    (folder / 'table.json').write_text(
        json.dumps([as_json(entry) for entry in entries], indent=2) + '\n'
    )
    draw(entries, folder / 'table.png')
    return text(entries)


def write_curve(groups: Sequence[Sequence[Measurement]], folder: Path) -> str:
    """Writes ``table.md``, ``table.json`` and ``curve.png`` into a folder.

    Args:
        groups: Measurements that are compared with the same *frame*.
        folder: The folder.

    Returns:
        The table as text, for the console.
    """
    tables = [build_table(group) for group in groups]
    entries = [entry for table in tables for entry in table]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'table.md').write_text('\n'.join(markdown(table, by_row) for table in tables))
    (folder / 'table.json').write_text(
        json.dumps([as_json(entry) for entry in entries], indent=2) + '\n'
    )
    draw_curve(entries, folder / 'curve.png')
    return '\n'.join(text(table, by_row) for table in tables)


def write_distances(lines: Sequence[DistanceLine], folder: Path) -> str:
    """Writes ``table.md``, ``table.json`` and ``distance.png`` into a folder.

    Args:
        lines: mAP at each distance from the key frame.
        folder: The folder.

    Returns:
        The table as text, for the console.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'table.md').write_text(markdown(lines, by_distance))
    (folder / 'table.json').write_text(
        json.dumps([line.as_json() for line in lines], indent=2) + '\n'
    )
    draw_distances(lines, folder / 'distance.png')
    return text(lines, by_distance)


def show(column: str, cell: Cell) -> str:
    """A cell as it is printed: shares in percent, mean ± deviation, '-' where undefined."""
    if cell.mean is None:
        return '-'
    factor, digits = (100 if column in IN_PERCENT else 1), DIGITS.get(column, 1)
    shown = f'{factor * cell.mean:.{digits}f}'
    if cell.sd is not None and column in WITH_SPREAD:
        shown += f' ± {factor * cell.sd:.{digits}f}'
    return shown + {'gap recovery': ' %', 'speed-up': '×'}.get(column, '')


def by_interval(entries: Sequence[Entry]) -> Iterator[Block]:
    """A block for each key interval; *frame*, without one, stands in every block."""
    intervals = list(dict.fromkeys(e.key_interval for e in entries if e.key_interval is not None))
    for interval in intervals or [None]:
        lines = [e for e in entries if e.key_interval in (interval, None)]
        seeds = len({seed for e in lines for seed in e.seeds})
        title = 'Every frame' if interval is None else f'A key frame every {interval} frames'
        title += f', {seeds} seeds (mean ± standard deviation)' if seeds > 1 else ', one seed'
        yield Block(title, COLUMNS, [_line(e.row, e, COLUMNS) for e in lines])


def by_row(entries: Sequence[Entry]) -> Iterator[Block]:
    """A block for each row, its key intervals below *frame*; without columns that say nothing."""
    columns = tuple(c for c in COLUMNS if any(e.cells[c].mean is not None for e in entries))
    frames = [e for e in entries if e.key_interval is None]
    rows = dict.fromkeys(e.row for e in entries if e.key_interval is not None)
    for row in rows or [e.row for e in frames]:
        own = [e for e in entries if e.row == row and e.key_interval is not None]
        lines = [_line(e.row, e, columns) for e in frames]
        lines += [_line(f'l = {e.key_interval}', e, columns) for e in own]
        yield Block(f'{row} ({own[0].method})' if own else row, columns, lines)


def by_distance(lines: Sequence[DistanceLine]) -> Iterator[Block]:
    """One block: a line for each run, a column for each distance, and their mean."""
    count = max(len(line.accuracies) for line in lines)

    def percent(value: float | None) -> str:
        return '-' if value is None else f'{100 * value:.1f}'

    cells = []
    for line in lines:
        # frame by frame there is no key frame to be far from
        values = line.accuracies * (count if line.method == 'frame' else 1)
        cells.append([line.row, *map(percent, values), percent(line.mean)])
    columns = (*(f'd = {d}' for d in range(count)), 'mean')
    yield Block('mAP at each distance d from the key frame', columns, cells)


def _line(name: str, entry: Entry, columns: Sequence[str]) -> list[str]:
    return [name, *(show(column, entry.cells[column]) for column in columns)]


Arrangement = Callable[[Sequence[Any]], Iterator[Block]]


def text(entries: Sequence[Any], arrange: Arrangement = by_interval) -> str:
    """The table in columns."""
    out = []
    for title, columns, lines in arrange(entries):
        table = [['', *columns], *lines]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        out.append(title + ':')
        for line in table:
            first, *rest = (
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            out.append('  '.join([first, *rest]))
        out.append('')
    return '\n'.join(out)


def markdown(entries: Sequence[Any], arrange: Arrangement = by_interval) -> str:
    """The table in Markdown."""
    out = []
    for title, columns, lines in arrange(entries):
        out += [f'### {title}', '']
        out += ['| | ' + ' | '.join(columns) + ' |', '|---|' + '---:|' * len(columns)]
        out += ['| ' + ' | '.join(line) + ' |' for line in lines]
        out.append('')
    return '\n'.join(out)


def as_json(entry: Entry) -> dict:
    """An entry with every seed's value; shares stay shares, undefined values are null."""
    cells = {
        c: {'mean': v.mean, 'sd': v.sd, 'values': list(v.values)} for c, v in entry.cells.items()
    }
    return {
        'row': entry.row,
        'method': entry.method,
        'key_interval': entry.key_interval,
        'seeds': list(entry.seeds),
        **cells,
    }
