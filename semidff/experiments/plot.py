"""Plots of a table: accuracy over speed, gap recovery, accuracy over distance."""

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from semidff.utils.speed_plot import METHOD_COLORS, Curve, Point, draw_speed, picture

from .tables import Line

MARKERS = 'osDv^Pp>'  # lines are distinguishable without colors


def draw_table(lines: Sequence[Line], path: Path) -> None:
    """Plot mAP over speed-up, a line per row with a point per key-frame interval, and bars of gap recovery."""
    with picture(path, (13, 4.6), columns=2) as (speed, gap):
        _draw_speed(speed, lines, 'speed-up', 'times faster than the detector')
        _draw_gap(gap, lines)


def draw_curve(lines: Sequence[Line], path: Path) -> None:
    """Plot mAP over fps alone (DFF Figure 3)."""
    with picture(path) as (axes,):
        _draw_speed(axes, lines, 'fps', 'frames per second')


def draw_distances(lines: Sequence[Line], path: Path) -> None:
    """Plot mAP over the distance from the key frame; *frame*, which has none, is dashed."""
    colors = _colors(lines)
    count = max(len(line.cells) for line in lines) - 1  # one cell is the mean
    frames = [line for line in lines if line.row.method == 'frame']
    with picture(path) as (axes,):
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


def _colors(lines: Sequence[Line]) -> dict[str, Any]:
    """Return a color for each row: that of its method for the last row of a method, others for the rest."""
    from matplotlib import colormaps
    from matplotlib.colors import TABLEAU_COLORS

    last = {line.row.method: line.row.name for line in lines}
    own = {row: METHOD_COLORS[m] for m, row in last.items() if m in METHOD_COLORS}
    others = [color for color in TABLEAU_COLORS if color not in own.values()]
    others = cycle([*others, *colormaps['tab20'].colors[1::2]])
    rows = dict.fromkeys(line.row.name for line in lines)
    return {row: own.get(row) or next(others) for row in rows}


def _draw_speed(axes: Any, lines: Sequence[Line], column: str, title: str) -> None:
    curves = []
    for row, color in _colors(lines).items():
        points = []
        for line in lines:
            speed, accuracy = line.cells[column], line.cells[line.accuracy]
            if line.row.name == row and None not in (speed.mean, accuracy.mean):
                error = 100 * (accuracy.sd or 0.0)
                points.append(Point(speed.mean, 100 * accuracy.mean, line.key_interval, error))
        if points:
            curves.append(Curve(row, color, points))
    intervals = {p.key_interval for curve in curves for p in curve.points} - {None}
    draw_speed(axes, curves, intervals, title, f'{lines[0].accuracy} [%]')
    axes.set_title('accuracy over speed')


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
