"""Plots of a table: accuracy over speed, gap recovery, accuracy over distance."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from semidff.utils.method_styles import METHOD_STYLES

from .tables import Line

MARKERS = 'osDv^Pp>'  # lines are distinguishable without colors


def draw_table(lines: Sequence[Line], path: Path) -> None:
    """Plot mAP over speed-up, a line per row with a point per key-frame interval, and bars of gap recovery."""
    with _picture(path, (13, 4.6), columns=2) as (speed, gap):
        _draw_speed(speed, lines, 'speed-up', 'times faster than the detector')
        _draw_gap(gap, lines)


def draw_curve(lines: Sequence[Line], path: Path) -> None:
    """Plot mAP over fps alone (DFF Figure 3)."""
    with _picture(path) as (axes,):
        _draw_speed(axes, lines, 'fps', 'frames per second')


def draw_distances(lines: Sequence[Line], path: Path) -> None:
    """Plot mAP over the distance from the key frame; *frame*, which has none, is dashed."""
    colors = _colors(lines)
    count = max(len(line.cells) for line in lines) - 1  # one cell is the mean
    frames = [line for line in lines if line.row.method == 'frame']
    with _picture(path) as (axes,):
        for index, line in enumerate(lines):
            *cells, _ = line.cells.values()
            values = [math.nan if cell.mean is None else 100 * cell.mean for cell in cells]
            style = dict(color=colors[line.row.name], label=line.row.name)
            if line in frames:
                dashes = (4 * frames.index(line), (4, 4))  # two equal lines remain visible
                axes.plot([0, max(count - 1, 1)], values[:1] * 2, linestyle=dashes, **style)
            else:
                marker = MARKERS[index % len(MARKERS)]
                axes.plot(range(len(values)), values, marker=marker, markersize=5, **style)
        axes.set(xlabel='distance from the key frame [frames]', ylabel='accuracy [%]',
                 title='accuracy over distance from the key frame')  # fmt: skip
        axes.set_xticks(range(0, count, max(1, count // 15)))
        axes.grid(alpha=0.3)


PICTURES = {
    'table': ('table.png', draw_table),
    'curve': ('curve.png', draw_curve),
    'distances': ('distance.png', draw_distances),
}


@contextlib.contextmanager
def _picture(
    path: Path, size: tuple[float, float] = (8.5, 5), columns: int = 1
) -> Iterator[list[Any]]:
    """Save a figure with one legend of all axes; a list of the axes is yielded."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=size, layout='constrained')
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    yield axes
    legend = {}  # a row without speed has bars only
    for each in axes:
        for handle, name in zip(*each.get_legend_handles_labels(), strict=True):
            legend.setdefault(name, handle)
    if legend:
        figure.legend(legend.values(), legend.keys(), loc='outside right center', fontsize=9)
    figure.savefig(path, dpi=120)


def _colors(lines: Sequence[Line]) -> dict[str, Any]:
    """Return a color for each row: that of its method for the last row of a method, others for the rest."""
    from matplotlib import colormaps
    from matplotlib.colors import TABLEAU_COLORS

    last = {line.row.method: line.row.name for line in lines}
    own = {row: METHOD_STYLES[m][0] for m, row in last.items() if m in METHOD_STYLES}
    others = [color for color in TABLEAU_COLORS if color not in own.values()]
    others = cycle([*others, *colormaps['tab20'].colors[1::2]])
    rows = dict.fromkeys(line.row.name for line in lines)
    return {row: own.get(row) or next(others) for row in rows}


def _draw_speed(axes: Any, lines: Sequence[Line], column: str, title: str) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    for row, color in _colors(lines).items():
        points = [
            (line, line.cells[column].mean, 100 * line.cells[line.accuracy].mean)
            for line in lines
            if line.row.name == row
            and None not in (line.cells[column].mean, line.cells[line.accuracy].mean)
        ]
        if not points:
            continue
        own, x, y = zip(*points, strict=True)
        error = [100 * (line.cells[line.accuracy].sd or 0.0) for line in own]
        _, marker = METHOD_STYLES.get(own[0].row.method, ('', 'o'))
        axes.errorbar(x, y, yerr=error if any(error) else None, color=color, marker=marker,
                      linestyle='-' if len(own) > 1 else 'none', capsize=3, label=row,
                      markersize=12 if marker == '*' else 6)  # fmt: skip
        for line, *point in points:
            if line.key_interval is not None and len(own) > 1:
                axes.annotate(f'{line.key_interval}', point, textcoords='offset points',
                              xytext=(5, 5), fontsize=8, color=color)  # fmt: skip
    numbers = ' (numbers: key-frame interval l)' if axes.texts else ''
    axes.set(xlabel=title, ylabel=f'{lines[0].accuracy} [%]',
             title=f'accuracy over speed{numbers}')  # fmt: skip
    # a log axis with as many labels as fit, within a decade or over several
    axes.set_xscale('log')
    low, high = axes.get_xlim()
    if high < 1.6 * low:
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.xaxis.set_minor_locator(NullLocator())
    elif high > 8 * low:
        axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_minor_formatter('{x:g}')
    axes.tick_params(axis='x', which='both', labelsize=9)
    axes.grid(which='both', alpha=0.3)


def _draw_gap(axes: Any, lines: Sequence[Line]) -> None:
    """Draw bars grouped by key-frame interval; *frame* (100 %) and *copy* (0 %) are lines."""
    colors = _colors(lines)
    bars = [line for line in lines if line.row.method not in ('frame', 'copy')]
    bars = [line for line in bars if line.cells['gap recovery'].mean is not None]
    rows = list(dict.fromkeys(line.row.name for line in bars))
    intervals = list(dict.fromkeys(line.key_interval for line in bars))
    width = 0.8 / max(1, len(rows))
    for line in bars:
        row, cell = line.row.name, line.cells['gap recovery']
        shift = (rows.index(row) - (len(rows) - 1) / 2) * width
        axes.bar(intervals.index(line.key_interval) + shift, 100 * cell.mean, 0.92 * width,
                 color=colors[row], yerr=None if cell.sd is None else 100 * cell.sd,
                 capsize=3, label=row)  # fmt: skip
    axes.axhline(0, color='black', linewidth=0.8)
    axes.axhline(100, color='black', linewidth=0.8, linestyle=':')
    axes.set_xticks(range(len(intervals)), intervals)
    axes.set(xlabel='key-frame interval l', ylabel='gap recovery [%]',
             title='gap recovery: 0 % is copy, 100 % is frame')  # fmt: skip
    axes.grid(axis='y', alpha=0.3)
