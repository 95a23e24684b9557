"""Report on a table: which point to use, and the main points."""

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
    labels='labels',
    raw="the detector's boxes on frames that a point has not seen (points that see all: at l = 2)",
    filtered="the detector's boxes, filtered both ways, which favors points with a filter",
)
_LIVE = (
    'Streaming accuracy: each frame is judged with the last result that was there when it arrived; '
    'first frames without result count. ms: delay from arrival to result, median, and largest in '
    '95 % and 99 % of the frames that were not dropped. Measured in real time.'
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
    columns = 'speed-up', 'fps', *_METRICS, 'boxes/frame', 'waits for later frames?'
    rows: list[tuple[str, ...]] = [('point', *columns)]
    for point in _main_points(table, max_loss, fps):
        figures = table.rows[point]
        speed = f'{table.speed_up(point):.2f}', f'{1 / figures.seconds:.1f}'
        metrics = (_percent(figures.metrics.get(name)) for name in _METRICS)
        waits = 'no' if point.is_causal else 'yes'
        rows.append((_name_of(point), *speed, *metrics, f'{figures.boxes:.1f}', waits))
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
    facts = {name: table.evidence.get(name, 0) for name in FEW}
    if any(facts[name] < least for name, least in FEW.items()):
        text += (
            f'\n\n**Caution:** this rests on {facts["boxes"]} boxes in {facts["frames"]} frames of '
            f'{facts["clips"]} clip{"s" * (facts["clips"] != 1)}. Measure more footage before you '
            'rely on it.'
        )
    return text


def _name_of(point: Point) -> str:
    """Return the name of a point in a report, which names runtimes once."""
    point = replace(point, runtime='torch')
    return str(point).replace('frame', 'detector on every frame', int(point.method == 'frame'))


def _percent(value: float | None) -> str:
    return '-' if value is None or value != value else f'{100 * value:.1f}'


def _main_points(table: Table, max_loss: float, fps: float | None) -> list[Point]:
    """Return the detector, the recommended points, the best *track*, and a selection of the front,
    slowest first.
    """
    best = table.best(max_loss, fps), table.best(max_loss, fps, causal=True)
    tracks = [p for p in table.measured if p.method == 'track' and table.keeps_boxes(p)]
    named = {*best, table.detector, *sorted(tracks, key=lambda p: -table.metric(p, 'AP'))[:1]}
    others = [p for p in table.front() if p not in named and table.keeps_boxes(p)]
    count = min(MOST_ROWS - len(named), len(others))
    steps = max(count - 1, 1)
    named |= {others[round(number * (len(others) - 1) / steps)] for number in range(count)}
    return sorted(named, key=lambda point: (-table.rows[point].seconds, str(point)))


def _advice(table: Table, point: Point, fps: float | None) -> str:
    detector, figures = table.detector, table.rows[point]
    if point == detector:
        return 'Keep the **detector on every frame**: no faster point is as good.'
    gains = ', '.join(
        f'{name} {100 * (table.metric(point, name) - table.metric(detector, name)):+.1f}'
        for name in DECIDING
    )
    boxes = figures.boxes / max(table.rows[detector].boxes, 1e-9)
    text = (
        f'Use **{_name_of(point)}**: {table.speed_up(point):.1f} times as fast as the detector '
        f'({1 / figures.seconds:.1f} frames per second), {gains} points, {100 * boxes:.0f} % of '
        'its boxes.'
    )
    if fps and figures.seconds > 1 / fps:
        text += f' Nothing reaches {fps:g} frames per second.'
    losses = sorted(
        (figures.classes.get(name, (0, 0.0))[1] - ap, name, boxes)
        for name, (boxes, ap) in table.rows[detector].classes.items()
        if boxes >= _CLASS_BOXES and ap is not None
    )
    lost = [
        f'{name} {100 * loss:+.1f} ({boxes} boxes)'
        for loss, name, boxes in losses[:_CLASSES]
        if loss < -MAX_LOSS
    ]
    return f'{text} Classes that lose most: {", ".join(lost)}.' if lost else text


def _meaning(table: Table, max_loss: float, fps: float | None) -> str:
    facts, runtimes = table.evidence, sorted({point.runtime for point in table.rows})
    text = (
        f'AP, AP_50 and AP_75 in percent, by {_AGAINST[facts["reference"]]}; boxes of a score of '
        f'at least {facts["min_score"]:g}. {facts["boxes"]} boxes in {facts["frames"]} frames of '
        f'{facts["clips"]} clips. Speed is measured from decoding to boxes, in '
        f'{", ".join(runtimes)}, on {facts["timed"]}. l: frames from one key frame to the next. A '
        f'recommended point loses at most {100 * max_loss:g} points of AP and AP_50, and has at '
        f"least {100 * LEAST_BOXES:.0f} % of the detector's boxes."
    )
    prefix = 'unseen/' if facts['reference'] == 'filtered' else 'filtered/'
    if f'{prefix}AP' in table.rows[table.detector].metrics:
        other = table.best(max_loss, fps, prefix=prefix)
        if other != table.best(max_loss, fps):
            text += f' By {prefix[:-1]} boxes, it would be {_name_of(other)}.'
    text += f' All {len(table.measured)} points are in points.json'
    others = f', and why {len(table.failed)} others have no figures'
    return f'{text}{others * bool(table.failed)}.'


def _live(table: Table) -> str:
    every = [(point, live) for point, figures in table.rows.items() for live in figures.live]
    if not every:
        return ''
    columns = 'latency', *(f's{name}' for name in _METRICS), 'ms', '95 %', '99 %', 'dropped'
    rows: list[Sequence[str]] = [('point', *columns)]
    for point, live in sorted(every, key=lambda pair: -pair[1]['metrics']['AP']):
        metrics = (_percent(live['metrics'][name]) for name in _METRICS)
        delays = (f'{1000 * seconds:.0f}' for seconds in live['delays'])
        dropped = f'{100 * live["dropped"]:.0f} %'
        rows.append((_name_of(point), live['latency'], *metrics, *delays, dropped))
    title = f'## Live, at {every[0][1]["rate"]:g} frames per second'
    return f'{title}\n\n{markdown_table(rows)}\n\n{_LIVE}'
