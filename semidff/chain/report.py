"""Writes the table: to the console, as Markdown and JSON, with a plot beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .plot import draw
from .spec import Chain
from .table import COLUMNS, MEASURED, Cell, Entry, Measurement, build_table

IN_PERCENT = {name for name, (_, share) in MEASURED.items() if share} | {'gap recovery'}
# Slices and speeds vary alike; their deviations are in table.json.
WITH_SPREAD = {'mAP', 'gap recovery'}
DIGITS = {'fps': 2, 'speed-up': 2}


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


def show(column: str, cell: Cell) -> str:
    """A cell as it is printed: shares in percent, mean ± deviation, '-' where undefined."""
    if cell.mean is None:
        return '-'
    factor, digits = (100 if column in IN_PERCENT else 1), DIGITS.get(column, 1)
    shown = f'{factor * cell.mean:.{digits}f}'
    if cell.sd is not None and column in WITH_SPREAD:
        shown += f' ± {factor * cell.sd:.{digits}f}'
    return shown + {'gap recovery': ' %', 'speed-up': '×'}.get(column, '')


def blocks(entries: Sequence[Entry]) -> Iterator[tuple[str, list[list[str]]]]:
    """For each key interval a title and its lines; *frame*, without one, stands in every block."""
    intervals = list(dict.fromkeys(e.key_interval for e in entries if e.key_interval is not None))
    for interval in intervals or [None]:
        lines = [e for e in entries if e.key_interval in (interval, None)]
        seeds = len({seed for e in lines for seed in e.seeds})
        title = 'every frame' if interval is None else f'a key frame every {interval} frames'
        title += f', {seeds} seeds (mean ± standard deviation)' if seeds > 1 else ', one seed'
        yield title, [[e.row, *(show(c, e.cells[c]) for c in COLUMNS)] for e in lines]


def text(entries: Sequence[Entry]) -> str:
    """The table in columns."""
    out = []
    for title, lines in blocks(entries):
        table = [['', *COLUMNS], *lines]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        out.append(title[0].upper() + title[1:] + ':')
        for line in table:
            first, *rest = (
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            out.append('  '.join([first, *rest]))
        out.append('')
    return '\n'.join(out)


def markdown(entries: Sequence[Entry]) -> str:
    """The table in Markdown."""
    out = []
    for title, lines in blocks(entries):
        out += [f'### {title[0].upper()}{title[1:]}', '']
        out += ['| | ' + ' | '.join(COLUMNS) + ' |', '|---|' + '---:|' * len(COLUMNS)]
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
