"""Tables on the console, as Markdown and JSON files, each with a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from semidff.utils.atomic_write import atomic_path, atomic_write, write_json
from semidff.utils.tables import markdown_table, text_table

from .plot import draw, draw_curve, draw_distances
from .table import (
    COLUMNS,
    MEASURED,
    SEGMENTATION,
    Cell,
    DistanceLine,
    Entry,
    Measurement,
    build_table,
)

# column -> factor, digits, unit; all others are shares in percent with one digit
FORMATS = {'fps': (1, 2, ''), 'speed-up': (1, 2, '×'), 'gap recovery': (100, 1, ' %')}
# Slices vary like mAP; all deviations are in table.json.
WITH_DEVIATION = {'mAP', 'gap recovery'}
# Speed is measured with the first seed only.
OF_FIRST_SEED = {'fps', 'speed-up'}
FEWER = '(n): the figure is that of n seeds only; the other seeds have none.'
BUSY = 'The speed of rows with - varied too much: the machine was busy.'


class Block(NamedTuple):
    """Part of a table with a title and a note of its own; the first row is the header."""

    title: str
    rows: list[list[str]]
    note: str = ''


def write_report(measurements: Sequence[Measurement], folder: Path) -> str:
    """Write ``table.md``, ``table.json`` and ``table.png`` into a folder; return the table as text."""
    entries = build_table(measurements)
    arrange = by_table if any(entry.tables for entry in entries) else by_interval
    return _write(arrange(entries), entries, folder / 'table.png', draw)


def write_curve(measurements: Sequence[Measurement], folder: Path) -> str:
    """Write ``table.md``, ``table.json`` and ``curve.png`` into a folder; return the table as text."""
    groups: dict[str, list[Measurement]] = {}
    for item in sorted(measurements, key=lambda item: item.method != 'frame'):
        groups.setdefault(item.group, []).append(item)
    tables = [build_table(group) for group in groups.values()]
    blocks = [block for table in tables for block in by_row(table)]
    return _write(blocks, sum(tables, []), folder / 'curve.png', draw_curve)


def write_distances(measurements: Sequence[Measurement], folder: Path) -> str:
    """Write ``table.md``, ``table.json`` and ``distance.png`` into a folder; return the table as text.

    Raises:
        ValueError: If a measurement has no mAP at distances.
    """
    lines = [DistanceLine.of(item) for item in measurements]
    count = max(len(line.accuracies) for line in lines)
    rows = [['', *(f'd = {d}' for d in range(count)), 'mean']]
    for line in lines:
        # *frame* has no key frame and hence one value for all distances
        values = line.accuracies * (count if line.method == 'frame' else 1)
        rows.append([line.row, *(show('mAP', Cell.of([v])) for v in (*values, line.mean))])
    blocks = [Block('Accuracy at each distance d from the key frame', rows)]
    return _write(blocks, lines, folder / 'distance.png', draw_distances)


def _write(
    blocks: Sequence[Block],
    lines: Sequence[Any],
    picture: Path,
    draw_lines: Callable[[Sequence[Any], Path], None],
) -> str:
    with atomic_write(picture.with_name('table.md')) as file:
        file.write(markdown(blocks))
    write_json([as_json(line) for line in lines], picture.with_name('table.json'), indent=2)
    with atomic_path(picture) as path:
        draw_lines(lines, path)
    return text(blocks)


def show(column: str, cell: Cell, seeds: int = 1) -> str:
    """Format a cell: shares in percent, mean ± deviation, '-' where it is undefined.

    Args:
        seeds: Number of seeds in the cell's block; if the cell has fewer, their number is added in brackets.
    """
    if cell.mean is None:
        return '-'
    factor, digits, unit = FORMATS.get(column, (100, 1, ''))
    shown = f'{factor * cell.mean:.{digits}f}'
    if cell.sd is not None and column in WITH_DEVIATION:
        shown += f' ± {factor * cell.sd:.{digits}f}'
    return shown + unit + (f' ({cell.count})' if _has_fewer(column, cell, seeds) else '')


def _has_fewer(column: str, cell: Cell, seeds: int) -> bool:
    return column not in OF_FIRST_SEED and 0 < cell.count < seeds


def by_interval(entries: Sequence[Entry]) -> list[Block]:
    """Arrange a block for each key-frame interval; *frame*, which has none, is in every block."""
    intervals = list(dict.fromkeys(e.key_interval for e in entries if e.key_interval is not None))
    blocks = []
    for interval in intervals or [None]:
        lines = [(e.row, e) for e in entries if e.key_interval in (interval, None)]
        title = 'Every frame' if interval is None else f'A key frame every {interval} frames'
        blocks.append(_block(title + _seeds([e for _, e in lines]), COLUMNS, lines))
    return blocks


def by_table(entries: Sequence[Entry]) -> list[Block]:
    """Arrange a block for each table of a paper, with key-frame interval *l* and the paper's mAP."""
    blocks = []
    for table in sorted({table for e in entries for table in e.tables}):
        own = [e for e in entries if table in e.tables]
        block = _block(f'Table {table}' + _seeds(own), COLUMNS, [(e.row, e) for e in own])
        figures = (e.tables[table] for e in own)
        paper = ['paper', *('-' if figure is None else f'{figure:.2f}' for figure in figures)]
        intervals = ['l', *(str(e.key_interval or '-') for e in own)]
        columns = zip(block.rows, intervals, paper, strict=True)
        rows = [[name, interval, figure, *cells] for (name, *cells), interval, figure in columns]
        blocks.append(block._replace(rows=rows))
    return blocks


def _count_seeds(entries: Sequence[Entry]) -> int:
    return len({seed for e in entries for seed in e.seeds})


def _seeds(entries: Sequence[Entry]) -> str:
    """Return the end of a title, which tells how many seeds there are."""
    seeds = _count_seeds(entries)
    return f', {seeds} seeds (mean ± standard deviation)' if seeds > 1 else ', one seed'


def by_row(entries: Sequence[Entry]) -> list[Block]:
    """Arrange a block for each row, its key-frame intervals below *frame*; omit undefined columns."""
    columns = tuple(c for c in COLUMNS if any(e.cells[c].mean is not None for e in entries))
    frames = [(e.row, e) for e in entries if e.key_interval is None]
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.key_interval is not None:
            rows.setdefault(entry.row, []).append(entry)
    blocks = []
    for row, own in rows.items():
        lines = [*frames, *((f'l = {e.key_interval}', e) for e in own)]
        blocks.append(_block(f'{row} ({own[0].method})', columns, lines))
    return blocks or [_block(name, columns, frames) for name, _ in frames]


def _block(title: str, columns: Sequence[str], lines: Sequence[tuple[str, Entry]]) -> Block:
    entries = [e for _, e in lines]
    names, seeds = _columns(entries[0].accuracy, columns), _count_seeds(entries)
    rows = [
        [name, *(show(column, e.cells[column], seeds) for column in names)] for name, e in lines
    ]
    fewer = any(_has_fewer(column, e.cells[column], seeds) for e in entries for column in names)
    notes = [FEWER] * fewer + [BUSY] * any(e.busy for e in entries)
    return Block(title, [['', *names.values()], *rows], ' '.join(notes))


def _columns(accuracy: str, columns: Sequence[str]) -> dict[str, str]:
    """Return the columns that apply to mAP or mIoU, and their names."""
    if accuracy == 'mIoU':
        columns = [c for c in columns if c in SEGMENTATION or c not in MEASURED]
    return {column: accuracy if column == 'mAP' else column for column in columns}


def text(blocks: Sequence[Block]) -> str:
    """Format a table for the console."""
    parts = [
        f'{b.title}:\n{text_table(b.rows)}\n' + (f'{b.note}\n' if b.note else '') for b in blocks
    ]
    return '\n'.join(parts)


def markdown(blocks: Sequence[Block]) -> str:
    """Format a table in Markdown."""
    parts = [
        f'### {b.title}\n\n{markdown_table(b.rows)}\n' + (f'\n{b.note}\n' if b.note else '')
        for b in blocks
    ]
    return '\n'.join(parts)


def as_json(line: Entry | DistanceLine) -> dict:
    """Return a line for a file: shares in [0, 1], every seed's value, null where undefined."""
    start = {'row': line.row, 'method': line.method}
    if isinstance(line, DistanceLine):
        return {**start, f'{line.accuracy}_at': line.accuracies, 'mean': line.mean}
    columns = _columns(line.accuracy, tuple(line.cells))
    cells = {name: vars(line.cells[column]) for column, name in columns.items()}
    tables = dict(paper=dict(line.tables)) if line.tables else {}
    return {**start, 'key_interval': line.key_interval, 'seeds': line.seeds, **tables, **cells}
