"""Report on operating points: Pareto front, recommended point, table, picture.

A point is a dict: the fields of :class:`~semidff.analysis.operating_points.OperatingPoint`; ``interval``, the average
key-frame interval that occurred; ``milliseconds`` of a frame from decoding to boxes; ``speed_up`` over the dense
detector at the config's input size; ``metrics`` in 0..1, of which the first one decides, and, among them, ``boxes`` per
frame; ``causal``, whether results do not wait for later frames.
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

# Least accuracy of the points in the picture, as a share of the best: others would compress the rest.
_DRAWN = 0.5
_RUNTIMES = dict(torch='PyTorch', openvino='OpenVINO', auto='its fastest runtime')


def operating_report(
    points: Sequence[dict[str, Any]],
    max_loss: float,
    settings: dict[str, Any] | None = None,
    fps: float | None = None,
) -> dict[str, Any]:
    """Compare measured points.

    Args:
        points: The first one is the dense detector at the config's input size.
        settings: What was measured: ``labels``, ``min_score``, ``places``, the number of phases of the key frames,
            ``rounds``, ``frames``, ``clips``, and ``sizes``, height and width of the network's input by scale, and
            ``timed``, the video of the times, and ``runtime``.

    Returns:
        All figures, for JSON: ``points`` with ``above_dense``, ``gap_recovery`` and whether they are on the ``pareto``
        front; the name of the ``measure`` that decides; the dense detector at its best input size as ``reference``;
        the points ``recommended`` and ``recommended_causal``; the ``verdict`` in one or two sentences; the arguments.
    """
    front = pareto(points)
    points = [
        dict(
            one,
            above_dense=above_dense(points, one),
            gap_recovery=_gap_recovery(points, one),
            pareto=one in front,
        )
        for one in points
    ]
    report = dict(
        points=points,
        measure=next(iter(points[0]['metrics'])),
        max_loss=max_loss,
        fps=fps,
        reference=_reference(points),
        recommended=best(points, max_loss, fps),
        recommended_causal=best(points, max_loss, fps, causal=True),
        settings=settings or {},
    )
    return report | dict(verdict=_verdict(report))


def _accuracy(one: dict[str, Any]) -> float:
    return next(iter(one['metrics'].values()))


def _fps(one: dict[str, Any]) -> float:
    return 1000 / one['milliseconds']


def _reference(points: Sequence[dict]) -> dict:
    """The dense detector at its best input size, the smaller one of equal ones."""
    dense = [one for one in points if one['method'] == 'frame' and not one['filter']]
    return max(dense, key=lambda one: (_accuracy(one), -one['scale']))


def best(
    points: Sequence[dict], max_loss: float, fps: float | None = None, causal: bool = False
) -> dict:
    """Return the fastest point within the loss, of all or of the causal ones.

    With ``fps``, it is the most accurate point that reaches it, or the fastest one if none does. A filter takes little
    time: it is chosen where it raises COCO's AP by 0.1 points.
    """
    least = _accuracy(_reference(points)) - max_loss
    # *copy* is measured for the gap recovery alone: *track* costs as much.
    points = [one for one in points if one['causal'] >= causal and one['method'] != 'copy']
    if not fps:
        points = [one for one in points if _accuracy(one) >= least]
    chosen = min(points, key=lambda one: one['milliseconds'])
    if fps and _fps(chosen) >= fps:
        points = [one for one in points if _fps(one) >= fps]
        chosen = max(points, key=lambda one: (_accuracy(one), _fps(one)))
    fields = 'method', 'key_interval', 'scale', 'light_every'
    same = [one for one in points if all(one[name] == chosen[name] for name in fields)]
    return max(same, key=lambda one: (round(one['metrics'].get('AP', 0), 3), one is chosen))


def pareto(
    points: Sequence[dict], method: str | None = None, metric: str | None = None
) -> list[dict]:
    """Return the points, of all methods or one, that no other exceeds in both accuracy and speed, from the fastest on.

    ``metric`` names the accuracy; None: the one that decides.
    """
    name, front = metric or next(iter(points[0]['metrics'])), []
    points = [one for one in points if method in (None, one['method'])]
    for one in sorted(points, key=lambda p: (p['milliseconds'], -p['metrics'][name])):
        if not front or one['metrics'][name] > front[-1]['metrics'][name]:
            front.append(one)
    return front


def above_dense(points: Sequence[dict], one: dict) -> float | None:
    """Return how far a point lies above dense input sizes at equal time, None if none of them is as fast.

    Between two input sizes, accuracy is interpolated linearly in the logarithm of the time.
    """
    dense = pareto(points, 'frame')
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


def _name(one: dict[str, Any]) -> str:
    name = 'dense' if one['method'] == 'frame' else f'{one["method"]} at l = {one["key_interval"]}'
    name += f', input size × {one["scale"]:g}' if one['scale'] != 1 else ''
    return name + _options(one)


def _options(one: dict[str, Any]) -> str:
    every, kind = one['light_every'], one['filter']
    text = f', light frames every {every}' if every > 1 else ''
    shown = dict(causal='causal filter', both='filter both ways')
    return (
        text
        if kind is None or (one['method'], kind) == ('track', 'causal')
        else f'{text}, {shown[kind]}'
    )


def _verdict(report: dict[str, Any]) -> str:
    chosen, causal, fps = report['recommended'], report['recommended_causal'], report['fps']
    loss = 100 * (_accuracy(report['reference']) - _accuracy(chosen))
    if not fps:
        limit = f'within {100 * report["max_loss"]:g} points of {report["measure"]}'
        rival = f'no other method is faster {limit}'
    elif _fps(chosen) >= fps:
        limit = (
            f'{_fps(chosen):.1f} frames per second, {loss:.1f} points of {report["measure"]} lost'
        )
        rival = f'nothing with {fps:g} frames per second is more accurate ({limit})'
    else:
        limit = f'{_fps(chosen):.1f} frames per second; nothing that was measured reaches {fps:g}'
        rival = f'nothing is faster ({limit})'
    times = f'{chosen["speed_up"]:.1f} times as fast'
    if chosen['method'] == 'frame':
        if chosen['scale'] >= 1:
            return f'Keep the dense detector{_name(chosen).removeprefix("dense")}: {rival}.'
        return f'Use smaller frames instead: {_name(chosen)} is {times}, and {rival}.'
    text, above = f'Use {_name(chosen)}: {times}, {limit}', chosen['above_dense']
    if above is None:
        text += '; no measured input size of the dense detector is as fast.'
    else:
        side = 'above' if above >= 0 else 'below'
        text += f'; {100 * abs(above):.1f} points {side} smaller frames at equal time.'
    if causal is not chosen:
        advice = 'keep the dense detector' if causal['scale'] >= 1 else 'use smaller frames'
        if causal['method'] != 'frame':
            advice = f'use {_name(causal)}'
        facts = f'{causal["speed_up"]:.1f} times as fast'
        if fps and _fps(causal) < fps:
            facts += f', {_fps(causal):.1f} frames per second; nothing causal reaches {fps:g}'
        text += f' It is not causal; for live video {advice} ({facts}).'
    return text


def points_table(report: dict[str, Any]) -> str:
    """Return the verdict, a table of the main points, the Markdown table of all, and the protocol."""
    points, given = report['points'], report['settings']
    points = sorted(points, key=lambda one: -one['milliseconds'])
    against = (
        "agreement with the dense detector's boxes at the config's input size, of a score of at least "
        f'{given.get("min_score")}, not accuracy against labels'
    )
    if given.get('labels'):
        against = (
            'labels ("mAP" is that of ImageNet VID, "AP" COCO\'s); "agreement" (AP, and AP_50 as "agreement_50") by '
            f'{against}'
        )
    protocol = (
        f'{given.get("frames")} frames of {given.get("clips")} clips; metrics in per cent, by {against}; boxes per '
        'frame with that score, and those of the dense detector; '
        f'phases of the key frames: {given.get("places")}; l in brackets: average interval; times in ms per '
        f'frame of {given.get("timed")} from decoding to boxes, median of {given.get("rounds")} interleaved '
        f'rounds, speed-ups over the {_dense(given)}. "Above smaller frames" is the difference to the dense detector '
        'at the input size that takes the same time. "front": × where no other point is both faster and more accurate.'
    )
    main = (
        f'{report["verdict"]}\n\n{markdown_table(_rows(report, _main_points(report, points)))}\n\n'
    )
    return (
        f'{main}## All operating points\n\n{markdown_table(_rows(report, points))}\n\n{protocol}\n'
    )


def _dense(settings: dict[str, Any]) -> str:
    """What speed-ups are over."""
    runtime = settings.get('runtime', 'torch')
    return f'dense detector in {_RUNTIMES.get(runtime, runtime)}'


def _main_points(report: dict[str, Any], points: Sequence[dict]) -> list[dict]:
    """Choose the detector at all input sizes, the two longest intervals at full size, and what is recommended."""
    longest = sorted({one['key_interval'] for one in points})[-2:]
    plain = 'frame', 'copy', 'small', 'propagate', 'interpolate', 'blend'
    chosen = {*product(plain, [None]), *product(['track', 'propagate'], ['causal'])}
    recommended = report['recommended'], report['recommended_causal']
    return [
        one
        for one in points
        if one in recommended
        or (one['method'], one['filter']) in chosen
        and (one['method'] == 'frame' or (one['scale'] == 1 and one['key_interval'] in longest))
    ]


def _rows(report: dict[str, Any], points: Sequence[dict]) -> list[tuple[str, ...]]:
    *names, _ = points[0]['metrics']  # boxes are last
    sizes = report['settings'].get('sizes', {})
    columns = 'method', 'l', 'input', 'ms', 'speed-up', *names, 'boxes / dense'
    rows = [(*columns, 'gap recovery', 'above smaller frames', 'front')]
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
            '' if gap is None or scale != 1 else f'{100 * gap:.0f} %',
            '' if dense or above is None else f'{100 * above:+.1f}',
            'recommended' if one is report['recommended'] else '×' if one['pareto'] else '',
        ))  # fmt: skip
    return rows


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
        front = [one for one in pareto(own, metric=name) if not _is_low(report, one, name)]
        if not front or front == points[:1]:
            continue
        label = 'smaller frames' if method == 'frame' else method
        curves[method, causal] = Curve(
            None if (method, True) in curves else label,
            METHOD_COLORS[method],
            [_point(one, name) for one in front],
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
