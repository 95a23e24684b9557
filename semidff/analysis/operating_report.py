"""Report on operating points: front, recommended points, table, picture.

A point is a dict: the fields of :class:`~semidff.analysis.runs.OperatingPoint`; ``interval``, the average
key-frame interval that occurred; ``milliseconds`` of a frame from decoding to boxes; ``speed_up`` over the dense
detector at the config's input size; ``metrics`` in 0..1, of which ``AP`` and ``AP_50`` decide, and, among them,
``boxes`` per frame; ``causal``, whether results do not wait for later frames.
"""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from semidff.evaluation.metrics import gap_recovery
from semidff.utils.atomic_write import atomic_path
from semidff.utils.speed_plot import METHOD_COLORS, Curve, Point, draw_speed, picture
from semidff.utils.tables import markdown_table

DECIDING = 'AP', 'AP_50'
"""The metrics in which a recommended point loses little."""

MAX_LOSS = 0.03
"""Largest loss of a recommended point in each of them."""

OTHERS = 'left_out', 'filtered'
"""Names of the metrics by the other reference, where it is that of left-out boxes, and of filtered ones."""

_SLOWER = 1.1  # a point that takes up to so many times as long is recommended if its AP is higher
# Least accuracy of the points in the picture, as a share of the best: others would compress the rest.
_DRAWN = 0.5
_RUNTIMES = dict(torch='PyTorch', openvino='OpenVINO', auto='its fastest runtime')


def operating_report(
    points: Sequence[dict[str, Any]],
    max_loss: float = MAX_LOSS,
    settings: dict[str, Any] | None = None,
    fps: float | None = None,
) -> dict[str, Any]:
    """Compare measured points.

    Args:
        points: The first one is the dense detector at the config's input size.
        settings: What was measured: ``labels``, ``min_score``, ``places``, the number of phases of the key frames,
            ``rounds``, ``frames``, ``clips``, and ``sizes``, height and width of the network's input by scale, and
            ``timed``, the video of the times, and ``runtime``; ``is_raw`` and ``left_out``, the ``ious`` of the
            :class:`~semidff.analysis.reference.Reference`.

    Returns:
        All figures, for JSON: ``points`` with ``above_dense``, ``gap_recovery`` and whether they are on the ``pareto``
        front; the dense detector at its best input size as ``reference``; the points ``recommended`` and
        ``recommended_causal``, and ``recommended_else`` by the other reference, or None; the ``verdict`` in a few
        sentences; the arguments.
    """
    best_points = front(points)
    points = [
        dict(
            one,
            above_dense=above_dense(points, one),
            gap_recovery=_gap_recovery(points, one),
            pareto=one in best_points,
        )
        for one in points
    ]
    report = dict(
        points=points,
        max_loss=max_loss,
        fps=fps,
        reference=_reference(points),
        recommended=best(points, max_loss, fps),
        recommended_causal=best(points, max_loss, fps, causal=True),
        recommended_else=_recommended_else(points, max_loss, fps),
        settings=settings or {},
    )
    return report | dict(verdict=_verdict(report))


def _accuracy(one: dict[str, Any]) -> float:
    return one['metrics']['AP']


def _fps(one: dict[str, Any]) -> float:
    return 1000 / one['milliseconds']


def _reference(points: Sequence[dict]) -> dict:
    """The dense detector at its best input size, the smaller one of equal ones."""
    dense = [one for one in points if one['method'] == 'frame' and not one['filter']]
    return max(dense, key=lambda one: (_accuracy(one), -one['scale']))


def best(
    points: Sequence[dict],
    max_loss: float = MAX_LOSS,
    fps: float | None = None,
    causal: bool = False,
) -> dict:
    """Return the fastest point within the loss, of all or of the causal ones.

    Of those that take at most a tenth longer, it is the one of the highest AP. With ``fps``, it is the point of the
    highest AP that reaches it, or the fastest one if none does.
    """
    reference = _reference(points)['metrics']
    points = [one for one in points if one['causal'] >= causal]
    if fps:
        fast = [one for one in points if _fps(one) >= fps]
        return max(fast, key=lambda one: (_accuracy(one), _fps(one))) if fast else _fastest(points)
    points = [
        one
        for one in points
        if all(one['metrics'][name] >= reference[name] - max_loss for name in DECIDING)
    ]
    longest = _SLOWER * _fastest(points)['milliseconds']
    return max((one for one in points if one['milliseconds'] <= longest), key=_accuracy)


def _recommended_else(points: Sequence[dict], *limits: float | None) -> dict | None:
    for name in set(OTHERS) & points[0]['metrics'].keys():
        own = [one['metrics'] for one in points]
        own = [dict(AP=metrics[name], AP_50=metrics[f'{name}_50']) for metrics in own]
        others = [dict(one, metrics=metrics) for one, metrics in zip(points, own, strict=True)]
        return points[others.index(best(others, *limits))]
    return None


def _fastest(points: Sequence[dict]) -> dict:
    return min(points, key=lambda one: one['milliseconds'])


def front(points: Sequence[dict], names: Sequence[str] = DECIDING) -> list[dict]:
    """Return the points that no other one dominates, from the fastest on.

    A point dominates another one if it is nowhere worse and somewhere better: in its time, in the metrics ``names`` as
    tables show them, and in whether it is causal.
    """

    def merits(one: dict) -> tuple[float, ...]:
        accuracies = (round(one['metrics'][name], 3) for name in names)
        return -one['milliseconds'], one['causal'], *accuracies

    def dominated(own: tuple[float, ...]) -> bool:
        return any(
            other != own and all(map(float.__ge__, map(float, other), map(float, own)))
            for other in every
        )

    every = [merits(one) for one in points]
    kept = [one for one, own in zip(points, every, strict=True) if not dominated(own)]
    return sorted(kept, key=lambda one: one['milliseconds'])


def above_dense(points: Sequence[dict], one: dict) -> float | None:
    """Return how far the AP of a point lies above dense input sizes at equal time, None if none of them is as fast.

    These are without filter.

    Between two input sizes, it is interpolated linearly in the logarithm of the time.
    """
    dense = [point for point in points if point['method'] == 'frame' and not point['filter']]
    dense = front(dense, ['AP'])
    times = [point['milliseconds'] for point in dense]
    if one['milliseconds'] < times[0]:
        return None
    interpolated = np.interp(
        math.log(one['milliseconds']), np.log(times), list(map(_accuracy, dense))
    )
    return _accuracy(one) - float(interpolated)


def _gap_recovery(points: Sequence[dict], one: dict) -> float | None:
    """Return the gap recovery against *copy* at the same interval; None where it was not measured or has no gap."""
    for copy in points:
        if (copy['method'], copy['key_interval']) == ('copy', one['key_interval']):
            found = gap_recovery(*map(_accuracy, (one, points[0], copy)))
            return None if math.isnan(found) else found
    return None


def runtime_name(runtime: str | None) -> str:
    """Return how a runtime is called in messages; None stands for PyTorch."""
    return _RUNTIMES.get(runtime or 'torch', runtime)


def point_name(one: dict[str, Any]) -> str:
    """Return how an operating point is called in messages."""
    name = (
        'the dense detector'
        if one['method'] == 'frame'
        else f'{one["method"]} at l = {one["key_interval"]}'
    )
    name += f', input size × {one["scale"]:g}' if one['scale'] != 1 else ''
    return name + _options(one)


def _options(one: dict[str, Any]) -> str:
    every, kind = one['light_every'], one['filter']
    text = f', light frames every {every}' if every > 1 else ''
    shown = dict(causal='causal filter', both='filter both ways', identities='identities')
    return (
        text
        if kind is None or (one['method'], kind) == ('track', 'causal')
        else f'{text}, {shown[kind]}'
    )


def _verdict(report: dict[str, Any]) -> str:
    chosen, causal = report['recommended'], report['recommended_causal']
    text = _advice(report, chosen, '')
    if causal is not chosen:
        live = _advice(report, causal, ' causal')
        text += f' It waits for later frames. For live video, {live[0].lower()}{live[1:]}'
    return text


def _advice(report: dict[str, Any], one: dict[str, Any], kind: str) -> str:
    """Say what a recommended point is, and what of this ``kind`` is no better."""
    fps, reference = report['fps'], report['reference']
    keep = one['method'] == 'frame' and one['scale'] >= 1 and not fps
    gains = (f'{100 * (one["metrics"][n] - reference["metrics"][n]):+.1f}' for n in DECIDING)
    compared = '' if reference['scale'] == 1 else f' (against input size × {reference["scale"]:g})'
    facts = f'{one["speed_up"]:.1f} times as fast as the detector'
    if fps:
        facts += f', {_fps(one):.1f} frames per second'
    facts += ', AP {} and AP_50 {} points{}'.format(*gains, compared)
    if one['above_dense'] is not None and one['method'] != 'frame':
        facts += f'; AP {100 * one["above_dense"]:+.1f} against smaller frames in the same time'
    limit = f'more than 10 % faster within {100 * report["max_loss"]:g} points of both'
    if fps:
        limit = f'with {fps:g} frames per second has a higher AP'
        limit = limit if _fps(one) >= fps else f'reaches {fps:g} frames per second'
    rival = f'nothing{kind} that was measured {limit}' if fps else f'nothing{kind} is {limit}'
    if keep and one is reference:
        return f'Keep {point_name(one)}: {rival}.'
    return f'{"Keep" if keep else "Use"} {point_name(one)}: {facts}; {rival}.'


def points_table(report: dict[str, Any]) -> str:
    """Return the verdict, a table of the main points, the Markdown table of all, and the protocol."""
    points, given = report['points'], report['settings']
    points = sorted(points, key=lambda one: -one['milliseconds'])
    against = (
        f"agreement with {_teacher(given)}'s boxes at the config's input size, {_kind(given)}, of a score of at "
        f'least {given.get("min_score")}, not accuracy against labels'
    )
    if given.get('labels'):
        against = (
            'labels ("mAP" is that of ImageNet VID, "AP" COCO\'s); "agreement" (AP, and AP_50 as "agreement_50") by '
            f'{against}'
        )
    protocol = (
        'dense: the detector on every frame; l: frames from one key frame to the next; offline: waits for later '
        f'frames. {given.get("frames")} frames of {given.get("clips")} clips; metrics in per cent, by {against}; boxes '
        'per frame with that score, and those of the dense detector; '
        f'phases of the key frames: {given.get("places")}; l in brackets: average interval; times in ms per '
        f'frame of {given.get("timed")} from decoding to boxes, median of {given.get("rounds")} interleaved '
        f'rounds, speed-ups over the {_dense(given)}. "Above smaller frames" is the difference to the dense detector '
        'in the same time, interpolated between its input sizes. "front": × where no other point is as fast, as '
        'accurate by AP and AP_50, and causal if this one is.'
    )
    shown = report['reference'], report['recommended'], report['recommended_causal']
    main = [one for one in points if one['pareto'] or one in shown]
    return (
        f'{report["verdict"]}\n\n{_meaning(report)}{markdown_table(_rows(report, main))}\n\n{_classes(report)}'
        f'## All operating points\n\n{markdown_table(_rows(report, points))}\n\n{protocol}\n{_live(report)}'
    )


def _live(report: dict[str, Any]) -> str:
    """Return the table of live video."""
    if not (points := report.get('live')):
        return ''
    *names, _ = points[0]['metrics']
    rows = [('point', 'latency', *(f's{name}' for name in names), 'ms', '95 %', '99 %', 'dropped')]
    for one in sorted(points, key=lambda one: -one['metrics']['AP']):
        figures = (100 * one['metrics'][name] for name in names)
        delays = (1000 * seconds for seconds in one['delays'].values())
        rows.append((
            point_name(one),
            one['latency'],
            *(f'{value:.1f}' for value in figures),
            *(f'{value:.0f}' for value in delays),
            f'{100 * one["dropped"]:.0f} %',
        ))  # fmt: skip
    return (
        f'\n## Live, at {points[0]["rate"]:g} frames per second\n\n{markdown_table(rows)}\n\n'
        'Streaming accuracy: each frame is judged with the last result that was there when it arrived; first frames '
        'without result count. ms: delay from arrival to result, median, and largest in 95 % and 99 % of the '
        'frames that were not dropped. Measured in real time.\n'
    )


def _meaning(report: dict[str, Any]) -> str:
    """Say what AP is, without labels."""
    given = report['settings']
    if given.get('labels'):
        return ''
    own = 100 * report['points'][0]['metrics']['AP']
    return (
        f"There are no labels: AP is the agreement with {_teacher(given)}'s boxes, {_kind(given)} (the dense "
        f'detector by itself: {own:.1f}), on {given.get("frames")} frames of {given.get("clips")} clips. '
        f'{_doubts(report)}\n\n'
    )


def _kind(settings: dict[str, Any]) -> str:
    """Which boxes the agreement is with."""
    if settings.get('is_raw'):
        return 'not filtered, on frames that a point has not seen (points that see all: at l = 2)'
    return 'filtered both ways'


def _doubts(report: dict[str, Any]) -> str:
    """Say how the reference was chosen, and what the other one would recommend."""
    is_raw, other = report['settings'].get('is_raw'), report['recommended_else']
    text = '' if is_raw else 'It favors points with a filter.'
    if ious := report['settings'].get('left_out'):
        text += (
            f' On frames that are left out at l = 10, the mean IoU with its boxes is {ious[0]:.3f} for *track*, '
            f'filtered both ways, and {ious[1]:.3f} for *interpolate*: filtered boxes are '
            f'{"no" if is_raw else "a"} reference.'
        )
    if other not in (None, report['recommended']):
        text += (
            f' By {OTHERS[bool(is_raw)].replace("_", "-")} boxes, it would be {point_name(other)}.'
        )
    return text.strip()


def _teacher(settings: dict[str, Any]) -> str:
    return 'the teacher' if settings.get('teacher') else 'the dense detector'


def _classes(report: dict[str, Any]) -> str:
    """Return the table of the classes."""
    if not (classes := report.get('classes')):
        return ''
    rows = [tuple(classes[0])]
    for one in classes:
        rows.append(
            (one['class'], str(one['boxes']), *(f'{100 * v:.1f}' for v in [*one.values()][2:]))
        )
    return f'{markdown_table(rows)}\n\n'


def _dense(settings: dict[str, Any]) -> str:
    """What speed-ups are over."""
    return f'dense detector in {runtime_name(settings.get("runtime"))}'


def _rows(report: dict[str, Any], points: Sequence[dict]) -> list[tuple[str, ...]]:
    *names, _ = points[0]['metrics']  # boxes are last
    sizes = report['settings'].get('sizes', {})
    labels = bool(report['settings'].get('labels'))
    columns = 'method', 'l', 'input', 'ms', 'speed-up', *names, 'boxes / dense'
    rows = [(*columns, *['gap recovery'] * labels, 'above smaller frames', 'front')]
    for one in points:
        method, interval, scale = one['method'], one['key_interval'], one['scale']
        dense, above, gap = method == 'frame', one['above_dense'], one['gap_recovery']
        differs = abs(one['interval'] - interval) > 0.05 * interval or method == 'adaptive'
        average = f' ({one["interval"]:.1f})' if differs else ''
        rows.append((
            ('dense' if dense else method)
            + ('' if one['causal'] else ' (offline)')
            + _options(one),
            '' if dense else f'{interval}{average}',
            ' × '.join(map(str, sizes.get(scale, (f'{scale:g}',)))),
            f'{one["milliseconds"]:.1f}',
            f'{one["speed_up"]:.2f}',
            *(f'{100 * one["metrics"][name]:.1f}' for name in names),
            f'{one["metrics"]["boxes"]:.1f} / {report["points"][0]["metrics"]["boxes"]:.1f}',
            *['' if gap is None or scale != 1 else f'{100 * gap:.0f} %'] * labels,
            '' if dense or above is None else f'{100 * above:+.1f}',
            _mark(report, one),
        ))  # fmt: skip
    return rows


def _mark(report: dict[str, Any], one: dict[str, Any]) -> str:
    if one is report['recommended']:
        return 'recommended'
    if one is report['recommended_causal']:
        return 'recommended for live video'
    return '×' if one['pareto'] else ''


def plot_points(report: dict[str, Any], path: str | Path) -> None:
    """Draw the front of every method, accuracy over speed-up, by the first two metrics; write it to ``path``.

    Points with less than half of the best accuracy are left out.
    """
    names = list(report['points'][0]['metrics'])[:2]
    curves = [_curves(report, name) for name in names]
    drawn = {point.key_interval for curve in sum(curves, []) for point in curve.points}
    title = 'hollow: smaller frames\ndashed: offline'
    if any(_is_low(report, one, name) for one in report['points'] for name in names):
        title += '\nbelow half of the best: not shown'
    size = (6.5 * len(names), 5)
    with atomic_path(path) as file, picture(file, size, len(names), title) as panels:
        for axes, name, own in zip(panels, names, curves, strict=True):
            _draw(report, axes, name, own, drawn - {None})


def _is_low(report: dict[str, Any], one: dict[str, Any], name: str) -> bool:
    highest = max(point['metrics'][name] for point in report['points'])
    return one['metrics'][name] < _DRAWN * highest


def _point(one: dict[str, Any], name: str) -> Point:
    dense = one['method'] == 'frame'
    interval, hollow = None if dense else one['key_interval'], one['scale'] != 1 and not dense
    return Point(one['speed_up'], 100 * one['metrics'][name], interval, hollow=hollow)


def _curves(report: dict[str, Any], name: str) -> list[Curve]:
    """Return the front of every method, causal and offline."""
    points, curves = report['points'], {}
    for method, causal in product(METHOD_COLORS, (True, False)):
        own = [one for one in points if (one['method'], one['causal']) == (method, causal)]
        shown = [one for one in front(own, [name]) if not _is_low(report, one, name)]
        if not shown or shown == points[:1]:
            continue
        label = 'smaller frames' if method == 'frame' else method
        curves[method, causal] = Curve(
            None if (method, True) in curves else label,
            METHOD_COLORS[method],
            [_point(one, name) for one in shown],
            '-' if causal else '--',
        )
    return list(curves.values())


def _draw(
    report: dict[str, Any], axes: Any, name: str, curves: Sequence[Curve], intervals: set[int]
) -> None:
    with_labels = report['settings'].get('labels')
    kind = dict(mAP=' (ImageNet VID)', AP=' (COCO)').get(name, '')
    accuracy = f'{name}{kind}' if with_labels else f'agreement with the detector ({name})'
    speed = f'times faster than the {_dense(report["settings"])}'
    draw_speed(axes, curves, intervals, speed, f'{accuracy} [%]')
    style = dict(marker='*', s=280, color=METHOD_COLORS['frame'], zorder=3)
    detector = _point(report['points'][0], name)
    axes.scatter(*detector[:2], label='detector on every frame', **style)
    for key, line in (('recommended', '-'), ('recommended_causal', ':')):
        if line == '-' or report[key] != report['recommended']:
            style = dict(s=260, facecolors='none', edgecolors='black', linewidth=1.8, zorder=3)
            text = key.replace('_causal', ' for live video')
            axes.scatter(*_point(report[key], name)[:2], linestyle=line, label=text, **style)
