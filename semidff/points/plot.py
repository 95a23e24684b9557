"""Picture of a table: accuracy over speed-up."""

from itertools import cycle
from pathlib import Path
from typing import Any

from semidff.inference.point import ADAPTIVE, Point
from semidff.utils.atomic_write import atomic_path

from .table import DECIDING, MAX_LOSS, Table

COLORS = {
    'frame': 'tab:blue',
    'copy': 'tab:gray',
    'track': 'tab:orange',
    'small': 'tab:cyan',
    'interpolate': 'tab:green',
    'propagate': 'tab:red',
    'centered': 'tab:purple',
    'blend': 'tab:brown',
    ADAPTIVE: 'tab:pink',
}
"""Color of each method."""

_DRAWN = 0.5  # least accuracy of the points, as a share of the best: others would compress the rest
_MARKERS = 'osDv^PpX<>'  # of key-frame intervals


def plot(table: Table, file: Path, max_loss: float = MAX_LOSS, fps: float | None = None) -> None:
    """Draw the front of each method, causal and offline; points below half of the best accuracy are left out."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=(13, 5), layout='constrained')
    intervals = sorted({p.key_interval for p in table.measured if p.method != 'frame'})
    markers = dict(zip(intervals, cycle(_MARKERS), strict=False))
    panels = figure.subplots(1, len(DECIDING))
    for axes, name in zip(panels, DECIDING, strict=True):
        _draw(table, axes, name, markers)
        chosen = {
            'recommended for live video': (table.best(max_loss, fps, causal=True), ':'),
            'recommended': (table.best(max_loss, fps), '-'),
        }
        for label, (point, style) in chosen.items():
            ring = dict(s=260, facecolors='none', edgecolors='black', linewidth=1.8, zorder=3)
            axes.scatter(*_place(table, point, name), label=label, linestyle=style, **ring)
    handles, labels = panels[0].get_legend_handles_labels()
    title = 'hollow: smaller frames\ndashed: waits for later frames'
    figure.legend(handles, labels, loc='outside right center', fontsize=9, title=title)
    with atomic_path(file) as unfinished:
        figure.savefig(unfinished, dpi=120)


def _place(table: Table, point: Point, name: str) -> tuple[float, float]:
    return table.speed_up(point), 100 * table.metric(point, name)


def _draw(table: Table, axes: Any, name: str, markers: dict[int, str]) -> None:
    highest = max(table.metric(point, name) for point in table.measured)
    shown = [p for p in table.front([name]) if table.metric(p, name) >= _DRAWN * highest]
    groups: dict[tuple, list[Point]] = {}
    for point in shown:
        groups.setdefault((point.method, point.is_causal), []).append(point)
    for (method, is_causal), points in groups.items():
        color, places = COLORS.get(method), [_place(table, point, name) for point in points]
        label = method if (method, not is_causal) not in groups or is_causal else None
        axes.plot(*zip(*places, strict=True), '-' if is_causal else '--', color=color, label=label)
        for point, place in zip(points, places, strict=True):
            face = 'white' if point.scale != 1 else color
            marker = '*' if method == 'frame' else markers[point.key_interval]
            axes.plot(*place, marker, color=color, markerfacecolor=face)
    star = dict(marker='*', s=280, color=COLORS['frame'], zorder=3)
    axes.scatter(*_place(table, table.detector, name), label='detector on every frame', **star)
    for interval, marker in markers.items():
        axes.plot([], [], marker, color='black', label=f'l = {interval}')
    kind = (
        'AP of labels' if table.evidence['reference'] == 'labels' else 'agreement with the detector'
    )
    axes.set(xscale='log', xlabel='times as fast as the detector', ylabel=f'{kind} ({name}) [%]')
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis('{x:g}')
    axes.tick_params(axis='x', which='both', labelsize=8)
    axes.grid(which='both', alpha=0.3)
