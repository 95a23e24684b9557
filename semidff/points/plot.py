"""Pictures of accuracy over speed."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from semidff.utils.atomic_write import atomic_path

from .table import DECIDING, MAX_LOSS, Table

METHOD_COLORS = {
    'frame': 'tab:blue',
    'copy': 'tab:gray',
    'track': 'tab:orange',
    'small': 'tab:cyan',
    'interpolate': 'tab:green',
    'propagate': 'tab:red',
    'centered': 'tab:purple',
    'blend': 'tab:brown',
    'adaptive': 'tab:pink',
}
"""Color of each method, the same in all pictures."""

_MARKERS = 'osDv^PpX<>'  # of key-frame intervals


class Place(NamedTuple):
    """A point of a curve.

    Attributes:
        accuracy: In percent, with its standard deviation ``error``.
        key_interval: None if every frame is a key frame.
    """

    speed: float
    accuracy: float
    key_interval: int | None = None
    error: float = 0.0
    hollow: bool = False


class Curve(NamedTuple):
    """Points that a line of one color connects; without a label, it is not in the legend."""

    label: str | None
    color: Any
    points: Sequence[Place]
    style: str = '-'


@contextmanager
def picture(
    path: Path, size: tuple[float, float] = (8.5, 5), columns: int = 1, title: str = ''
) -> Iterator[list[Any]]:
    """Save a figure with one legend of all axes, under a title; a list of the axes is yielded."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=size, layout='constrained')
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    yield axes
    legend = {}
    for each in axes:
        for handle, name in zip(*each.get_legend_handles_labels(), strict=True):
            legend.setdefault(name, handle)
    if legend:
        place = dict(loc='outside right center', fontsize=9, title=title, labelspacing=0.8)
        figure.legend(legend.values(), legend.keys(), **place)
    figure.savefig(path, dpi=120)


def draw_speed(
    axes: Any, curves: Iterable[Curve], key_intervals: Iterable[int], xlabel: str, ylabel: str
) -> None:
    """Plot accuracy over speed, with a marker for each of the key-frame intervals, which all panels have in common."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    markers = dict(zip(sorted(key_intervals), cycle(_MARKERS)))
    for label, color, points, style in curves:
        line = dict(color=color, label=label)
        if points[0].key_interval is None:
            line |= dict(marker='*', markersize=11)
        axes.plot([one.speed for one in points], [one.accuracy for one in points], style, **line)
        for speed, accuracy, interval, error, hollow in points:
            face = 'white' if hollow else color
            style = dict(marker=markers.get(interval), markerfacecolor=face, capsize=3)
            axes.errorbar(speed, accuracy, error or None, color=color, **style)
    for interval, marker in markers.items():
        axes.plot([], [], marker, color='black', label=f'l = {interval}')
    axes.set(xlabel=xlabel, ylabel=ylabel)
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


_DRAWN = 0.5  # least accuracy of the points of a table, as a share of the best: others would compress the rest


def plot(table: Table, file: Path, max_loss: float = MAX_LOSS, fps: float | None = None) -> None:
    """Draw the front of each method, causal and offline; points below half of the best accuracy are left out."""
    title = 'hollow: smaller frames\ndashed: waits for later frames'
    kind = (
        'AP of labels' if table.evidence['reference'] == 'labels' else 'agreement with the detector'
    )
    chosen = {
        'recommended for live video': (table.best(max_loss, fps, causal=True), ':'),
        'recommended': (table.best(max_loss, fps), '-'),
        'detector on every frame': (table.detector, ''),
    }
    with atomic_path(file) as unfinished, picture(unfinished, (13, 5), 2, title) as panels:
        for axes, name in zip(panels, DECIDING, strict=True):
            curves = _curves(table, name)
            intervals = {place.key_interval for curve in curves for place in curve.points} - {None}
            speed = 'times as fast as the detector'
            draw_speed(axes, curves, intervals, speed, f'{kind} ({name}) [%]')
            for label, (point, style) in chosen.items():
                look = dict(s=260, facecolors='none', edgecolors='black', linestyle=style or '-')
                if not style:
                    look = dict(s=280, marker='*', color=METHOD_COLORS['frame'])
                place = table.speed_up(point), 100 * table.metric(point, name)
                axes.scatter(*place, label=label, zorder=3, **look)


def _curves(table: Table, name: str) -> list[Curve]:
    highest = max(table.metric(point, name) for point in table.measured)
    groups: dict[tuple, list[Place]] = {}
    for point in table.front([name]):
        if (value := table.metric(point, name)) >= _DRAWN * highest:
            is_dense = point.method == 'frame'
            interval, hollow = None if is_dense else point.key_interval, point.scale != 1
            place = Place(
                table.speed_up(point), 100 * value, interval, hollow=hollow and not is_dense
            )
            groups.setdefault((point.method, point.is_causal), []).append(place)
    return [
        Curve(
            None if not is_causal and (method, True) in groups else method,
            METHOD_COLORS.get(method),
            places,
            '-' if is_causal else '--',
        )
        for (method, is_causal), places in groups.items()
    ]
