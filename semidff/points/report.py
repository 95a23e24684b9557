"""Report on a table: which point to use, and the main ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from semidff.inference.point import Point
from semidff.utils.atomic_write import atomic_write
from semidff.utils.tables import markdown_table

from .plot import plot
from .table import DECIDING, FEW, LEAST_BOXES, MAX_LOSS, Table

MOST_ROWS = 10

_CLASS_BOXES, _CLASSES = 20, 3  # fewest boxes of a class that is named, and most classes
_METRICS = 'AP', 'AP_50', 'AP_75'
_AGAINST = dict(
    raw="the detector's boxes on frames that a point has not seen (points that see all: at l = 2)",
    filtered="the detector's boxes, filtered both ways, which favors points with a filter",
)


def write_report(
    table: Table,
    folder: Path,
    title: str,
    max_loss: float = MAX_LOSS,
    fps: float | None = None,
    use: str = '',
) -> None:
    """Write ``report.md`` and ``report.png`` to a folder.

    Args:
        max_loss, fps: See :meth:`~semidff.points.table.Table.best`.
        use: How to run what is recommended, in Markdown.
    """
    plot(table, folder / 'report.png', max_loss, fps)
    with atomic_write(folder / 'report.md') as file:
        file.write(f'# {title}\n\n{report(table, max_loss, fps, use)}')


def report(
    table: Table, max_loss: float = MAX_LOSS, fps: float | None = None, use: str = ''
) -> str:
    """Return the report in Markdown: sentences, the picture, at most ten rows of eight columns."""
    rows = [(
        'point', 'speed-up', 'fps', *_METRICS, 'boxes/frame', 'waits for later frames?'
    )]  # fmt: skip
    for point in main_points(table, max_loss, fps):
        own = table.rows[point]
        rows.append((
            name_of(point),
            f'{table.speed_up(point):.2f}',
            f'{1 / own.seconds:.1f}',
            *(percent(own.metrics.get(name)) for name in _METRICS),
            f'{own.boxes:.1f}',
            'no' if point.is_causal else 'yes',
        ))  # fmt: skip
    sections = [
        verdict(table, max_loss, fps),
        use,
        '![accuracy over speed](report.png)',
        markdown_table(rows),
        _meaning(table, max_loss, fps),
        _live(table),
    ]
    return '\n\n'.join(filter(None, sections)) + '\n'


def verdict(table: Table, max_loss: float = MAX_LOSS, fps: float | None = None) -> str:
    """Say which point to use, what it gains and loses, and on how little that rests."""
    chosen = table.best(max_loss, fps)
    live = table.best(max_loss, fps, causal=True)
    text = _advice(table, chosen, fps)
    if live != chosen:
        text += f' It waits for later frames. For live video: {_advice(table, live, fps)}'
    return f'{text}\n\n{caution}' if (caution := _caution(table)) else text


def name_of(point: Point) -> str:
    """Return how a point is called in a report, which names runtimes once."""
    point = replace(point, runtime='torch')
    return str(point).replace('frame', 'detector on every frame', int(point.method == 'frame'))


def percent(value: float | None) -> str:
    """Return a metric in percent."""
    return '-' if value is None or value != value else f'{100 * value:.1f}'


def main_points(table: Table, max_loss: float, fps: float | None) -> list[Point]:
    """Return the detector, the recommended points, and a selection of the front, from the slowest on."""
    named = [table.detector, table.best(max_loss, fps), table.best(max_loss, fps, causal=True)]
    named = list(dict.fromkeys(named))
    others = [p for p in table.front() if p not in named and table.keeps_boxes(p)]
    count = min(MOST_ROWS - len(named), len(others))
    steps = max(count - 1, 1)
    chosen = [others[round(number * (len(others) - 1) / steps)] for number in range(count)]
    return sorted({*named, *chosen}, key=lambda point: -table.rows[point].seconds)


def _advice(table: Table, point: Point, fps: float | None) -> str:
    detector, own = table.detector, table.rows[point]
    if point == detector:
        return 'Keep the **detector on every frame**: no faster point is as good.'
    gains = ', '.join(
        f'{name} {100 * (table.metric(point, name) - table.metric(detector, name)):+.1f}'
        for name in DECIDING
    )
    boxes = own.boxes / max(table.rows[detector].boxes, 1e-9)
    text = (
        f'Use **{name_of(point)}**: {table.speed_up(point):.1f} times as fast as the detector '
        f'({1 / own.seconds:.1f} frames per second), {gains} points, {100 * boxes:.0f} % of its boxes.'
    )
    if fps and own.seconds > 1 / fps:
        text += f' Nothing reaches {fps:g} frames per second.'
    if lost := _lost_classes(table, point):
        text += f' Classes that lose most: {", ".join(lost)}.'
    return text


def _lost_classes(table: Table, point: Point) -> list[str]:
    """Name the classes of enough boxes that lose most AP against the detector."""
    own, dense = table.rows[point].classes, table.rows[table.detector].classes
    losses = [
        ((own[name][1] if name in own else 0.0) - ap, name, boxes)
        for name, (boxes, ap) in dense.items()
        if boxes >= _CLASS_BOXES and ap is not None
    ]
    return [
        f'{name} {100 * loss:+.1f} ({boxes} boxes)'
        for loss, name, boxes in sorted(losses)[:_CLASSES]
        if loss < -MAX_LOSS
    ]


def _caution(table: Table) -> str:
    facts = {name: table.evidence.get(name, 0) for name in ('boxes', 'frames', 'clips')}
    if all(facts[name] >= least for name, least in FEW.items()):
        return ''
    return (
        f'**Caution:** this rests on {facts["boxes"]} boxes in {facts["frames"]} frames of {facts["clips"]} '
        f'clip{"s" * (facts["clips"] != 1)}. Measure more footage before you rely on it.'
    )


def _meaning(table: Table, max_loss: float, fps: float | None) -> str:
    """Say what the columns are."""
    facts, runtimes = table.evidence, sorted({point.runtime for point in table.rows})
    against = 'labels' if facts['reference'] == 'labels' else _AGAINST[facts['reference']]
    text = (
        f'AP, AP_50 and AP_75 in percent, by {against}; boxes of a score of at least {facts["min_score"]:g}. '
        f'{facts["boxes"]} boxes in {facts["frames"]} frames of {facts["clips"]} clips. Speed is measured from '
        f'decoding to boxes, in {", ".join(runtimes)}, on {facts["timed"]}. l: frames from one key frame to the next. '
        f'A recommended point loses at most {100 * max_loss:g} points of AP and AP_50, and has at least '
        f"{100 * LEAST_BOXES:.0f} % of the detector's boxes."
    )
    prefix = 'unseen/' if facts['reference'] == 'filtered' else 'filtered/'
    if f'{prefix}AP' in table.rows[table.detector].metrics:
        other = table.best(max_loss, fps, prefix=prefix)
        if other != table.best(max_loss, fps):
            text += f' By {prefix[:-1]} boxes, it would be {name_of(other)}.'
    if table.failed:
        text += f' {len(table.failed)} points could not be measured.'
    return f'{text} All {len(table.measured)} points are in points.json.'


def _live(table: Table) -> str:
    """Return the table of live video."""
    every = [(point, one) for point, own in table.rows.items() for one in own.live]
    if not every:
        return ''
    rows: list[Sequence[str]] = [
        ('point', 'latency', *(f's{name}' for name in _METRICS), 'ms', '95 %', '99 %', 'dropped')
    ]
    for point, one in sorted(every, key=lambda pair: -pair[1]['metrics']['AP']):
        figures = (percent(one['metrics'][name]) for name in _METRICS)
        delays = (f'{1000 * seconds:.0f}' for seconds in one['delays'])
        dropped = f'{100 * one["dropped"]:.0f} %'
        rows.append((name_of(point), one['latency'], *figures, *delays, dropped))
    return (
        f'## Live, at {every[0][1]["rate"]:g} frames per second\n\n{markdown_table(rows)}\n\n'
        'Streaming accuracy: each frame is judged with the last result that was there when it arrived; first frames '
        'without result count. ms: delay from arrival to result, median, and largest in 95 % and 99 % of the '
        'frames that were not dropped. Measured in real time.'
    )
