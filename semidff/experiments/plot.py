"""Plots of a table: accuracy over speed, gap recovery, accuracy over distance."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .table import DistanceLine, Entry

MARKERS = 'osDv^Pp>'  # lines are distinguishable without colors
OF_METHOD = {'frame': '*', 'copy': 'v', 'coast': 's', 'interpolate': 'D'}
Colors = Mapping[str, tuple[float, ...]]


def draw(entries: Sequence[Entry], path: Path) -> None:
    """Plot mAP over fps, a line per row with a point per key-frame interval, and bars of gap recovery."""
    colors = _colors(entries)
    with _picture(path, (13, 4.6), columns=2) as (speed, gap):
        _draw_speed(speed, entries, colors)
        _draw_gap(gap, entries, colors)


def draw_curve(entries: Sequence[Entry], path: Path) -> None:
    """Plot mAP over fps alone (DFF Figure 3)."""
    with _picture(path) as (axes,):
        _draw_speed(axes, entries, _colors(entries))
        axes.set_title('accuracy over speed (numbers: key-frame interval l)')


def draw_distances(lines: Sequence[DistanceLine], path: Path) -> None:
    """Plot mAP over the distance from the key frame; *frame*, which has none, is dashed."""
    colors = _colors(lines)
    count = max(len(line.accuracies) for line in lines)
    frames = [line for line in lines if line.method == 'frame']
    with _picture(path) as (axes,):
        for index, line in enumerate(lines):
            values = [math.nan if v is None else 100 * v for v in line.accuracies]
            style = dict(color=colors[line.row], label=line.row)
            if line.method == 'frame':
                dashes = (4 * frames.index(line), (4, 4))  # two equal lines remain visible
                axes.plot([0, max(count - 1, 1)], values[:1] * 2, linestyle=dashes, **style)
            else:
                marker = MARKERS[index % len(MARKERS)]
                axes.plot(range(len(values)), values, marker=marker, markersize=5, **style)
        axes.set(xlabel='distance from the key frame [frames]', ylabel='accuracy [%]',
                 title='accuracy over distance from the key frame')  # fmt: skip
        axes.set_xticks(range(0, count, max(1, count // 15)))
        axes.grid(alpha=0.3)


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


def _colors(entries: Sequence[Entry | DistanceLine]) -> Colors:
    """Return a color for each row: the dark half of the palette, then the pale half, repeated."""
    from matplotlib import colormaps

    pairs = colormaps['tab20'].colors
    palette = pairs[::2] + pairs[1::2]
    rows = dict.fromkeys(e.row for e in entries)
    return {row: palette[i % len(palette)] for i, row in enumerate(rows)}


def _draw_speed(axes: Any, entries: Sequence[Entry], colors: Colors) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    for row, color in colors.items():
        points = [e for e in entries if e.row == row]
        points = [e for e in points if None not in (e.cells['mAP'].mean, e.cells['fps'].mean)]
        if not points:
            continue
        x, y = [e.cells['fps'].mean for e in points], [100 * e.cells['mAP'].mean for e in points]
        error = [100 * (e.cells['mAP'].sd or 0.0) for e in points]
        marker = OF_METHOD.get(points[0].method, 'o')
        axes.errorbar(x, y, yerr=error if any(error) else None, color=color, marker=marker,
                      linestyle='-' if len(points) > 1 else 'none', capsize=3, label=row,
                      markersize=12 if marker == '*' else 6)  # fmt: skip
        for entry, left, top in zip(points, x, y, strict=True):
            if entry.key_interval is not None and len(points) > 1:
                axes.annotate(f'{entry.key_interval}', (left, top), textcoords='offset points',
                              xytext=(5, 5), fontsize=8, color=color)  # fmt: skip
    ylabel = f'{entries[0].accuracy} [%]'
    axes.set(xlabel='frames per second', ylabel=ylabel, title='accuracy and speed (numbers: l)')
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


def _draw_gap(axes: Any, entries: Sequence[Entry], colors: Colors) -> None:
    """Draw bars grouped by key-frame interval; *frame* (100 %) and *copy* (0 %) are lines."""
    lines = [e for e in entries if e.method not in ('frame', 'copy')]
    lines = [e for e in lines if e.cells['gap recovery'].mean is not None]
    rows = list(dict.fromkeys(e.row for e in lines))
    intervals = list(dict.fromkeys(e.key_interval for e in lines))
    width = 0.8 / max(1, len(rows))
    for entry in lines:
        shift = (rows.index(entry.row) - (len(rows) - 1) / 2) * width
        cell = entry.cells['gap recovery']
        axes.bar(intervals.index(entry.key_interval) + shift, 100 * cell.mean, 0.92 * width,
                 color=colors[entry.row], yerr=None if cell.sd is None else 100 * cell.sd,
                 capsize=3, label=entry.row)  # fmt: skip
    axes.axhline(0, color='black', linewidth=0.8)
    axes.axhline(100, color='black', linewidth=0.8, linestyle=':')
    axes.set_xticks(range(len(intervals)), [f'l = {interval}' for interval in intervals])
    axes.set(ylabel='gap recovery [%]', title='0 % is copy, 100 % is frame')
    axes.grid(axis='y', alpha=0.3)
