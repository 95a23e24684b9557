"""Pictures of accuracy over speed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from semidff.utils.atomic_write import atomic_path

from .table import DECIDING, MAX_LOSS, Table

METHOD_COLORS = {
    'frame': 'tab:blue',
    'copy': 'tab:gray',
    'track': 'tab:orange',
    'small': 'tab:cyan',
    'focus': 'tab:olive',
    'interpolate': 'tab:green',
    'propagate': 'tab:red',
    'centered': 'tab:purple',
}
"""Color of each method, the same in all pictures."""

_DRAWN = 0.5  # least accuracy, as a share of the best: other points would compress the rest


class Place(NamedTuple):
    """A point of a curve, with its accuracy in percent, and the standard deviation of that."""

    speed: float
    accuracy: float
    key_interval: int
    error: float = 0.0
    is_hollow: bool = False


@contextmanager
def picture(
    path: Path, size: tuple[float, float] = (8.5, 5), columns: int = 1, title: str = ''
) -> Iterator[list[Any]]:
    """Save a figure with one legend of all axes, under a title; the axes are yielded."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=size, layout='constrained')
    panels = list(figure.subplots(1, columns, squeeze=False)[0])
    yield panels
    legend = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        legend = dict(zip(names, handles, strict=True)) | legend
    place = dict(loc='outside right center', fontsize=9, title=title, labelspacing=0.8)
    figure.legend(legend.values(), legend.keys(), **place)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=120)


def draw_curve(
    axes: Any, label: str | None, color: Any, points: Sequence[Place], style: str = '-'
) -> None:
    """Draw points, with their key-frame intervals, and a line between them."""
    speeds, accuracies, _, errors, _ = zip(*points, strict=True)
    line = dict(color=color, label=label, capsize=3)
    axes.errorbar(speeds, accuracies, errors if any(errors) else None, fmt=style, **line)
    for speed, accuracy, interval, _, is_hollow in points:
        face = 'white' if is_hollow else color
        axes.plot(speed, accuracy, 'o', color=color, markerfacecolor=face)
        if interval > 1:
            place = dict(xytext=(4, 4), textcoords='offset points')
            axes.annotate(f'{interval}', (speed, accuracy), fontsize=8, color=color, **place)


def scale_axes(axes: Any, xlabel: str, ylabel: str) -> None:
    """Name the axes, of which that of the speed is logarithmic."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

    axes.set(xlabel=xlabel, ylabel=ylabel, xscale='log')
    low, high = axes.get_xlim()
    if high < 8 * low:  # a log axis within a decade has few labels
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(which='both', alpha=0.3)


def plot(table: Table, file: Path, max_loss: float = MAX_LOSS, fps: float | None = None) -> None:
    """Draw the front of each method, causal and offline, and what is recommended."""
    title = 'numbers: key-frame intervals\nhollow: smaller frames\ndashed: waits for later frames'
    is_labeled = table.evidence['reference'] == 'labels'
    kind = 'AP of labels' if is_labeled else 'agreement with the detector'
    chosen = {
        'recommended for live video': (table.best(max_loss, fps, causal=True), ':'),
        'recommended': (table.best(max_loss, fps), '-'),
    }
    with picture(file, (13, 5), 2, title) as panels:
        for axes, name in zip(panels, DECIDING, strict=True):
            least = _DRAWN * max(table.metric(point, name) for point in table.measured)
            curves: dict[tuple[str, bool], list[Place]] = {}
            for point in table.front([name]):
                if (accuracy := table.metric(point, name)) >= least:
                    place = Place(table.speed_up(point), 100 * accuracy, point.key_interval)
                    places = curves.setdefault((point.method, point.is_causal), [])
                    places.append(place._replace(is_hollow=point.scale != 1))
            for (method, is_causal), places in curves.items():
                label, style = (method, '-') if is_causal else (f'{method} (offline)', '--')
                draw_curve(axes, label, METHOD_COLORS.get(method), places, style)
            for label, (point, style) in chosen.items():
                place = table.speed_up(point), 100 * table.metric(point, name)
                look = dict(s=260, facecolors='none', edgecolors='black', linestyle=style)
                axes.scatter(*place, label=label, zorder=3, **look)
            look = dict(s=280, marker='*', color=METHOD_COLORS['frame'])
            detector = 100 * table.metric(table.detector, name)
            axes.scatter(1, detector, label='detector on every frame', zorder=3, **look)
            scale_axes(axes, 'times as fast as the detector', f'{kind} ({name}) [%]')
