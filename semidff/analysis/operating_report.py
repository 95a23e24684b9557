"""Report on operating points: table, Pareto front, recommended point, picture."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from semidff.inference.methods import method_class
from semidff.utils.atomic_write import atomic_path
from semidff.utils.tables import markdown_table

from .point_detections import OperatingPoint

MARKERS = dict(
    frame='*', copy='v', coast='s', interpolate='D', propagate='o', centered='^', blend='X', adaptive='P'
)  # fmt: skip


@dataclass(frozen=True)
class MeasuredPoint:
    """Accuracy and time of an operating point.

    Attributes:
        point: The operating point.
        interval: Average key-frame interval.
        metrics: Metrics in 0..1; the first is the one that decides.
        milliseconds: Time of a frame from decoding to boxes.
        speed_up: Over the dense detector at the config's input size.
    """

    point: OperatingPoint
    interval: float
    metrics: dict[str, float]
    milliseconds: float
    speed_up: float

    @property
    def accuracy(self) -> float:
        """The first metric."""
        return next(iter(self.metrics.values()))

    @property
    def fps(self) -> float:
        """Frames per second from decoding to boxes."""
        return 1000 / self.milliseconds

    @property
    def causal(self) -> bool:
        """Whether a frame's result does not wait for later frames."""
        return not method_class(self.point.run_as).offline

    def __str__(self) -> str:
        method, interval, scale, smooth = self.point
        name = 'dense' if method == 'frame' else f'{method} at l = {interval}'
        name += f', input size × {scale:g}' if scale != 1 else ''
        return name + (f', scores averaged over {smooth} frames' if smooth else '')


@dataclass(frozen=True)
class OperatingReport:
    """Measured operating points.

    Attributes:
        points: All points; the dense detector at the config's input size is among them.
        max_loss: Largest loss of the recommended point in the first metric, 0..1.
        fps: Frames per second that the recommended point has to reach, in place of ``max_loss``.
        settings: What was measured: ``labels``, ``min_score``, ``places``, ``rounds``, ``frames``, ``clips``, and
            ``sizes``, height and width of the network's input by scale, and ``timed``, the video of the times.
    """

    points: list[MeasuredPoint]
    max_loss: float
    settings: dict[str, Any] = field(default_factory=dict)
    fps: float | None = None

    @property
    def measure(self) -> str:
        """Name of the metric that decides."""
        return next(iter(self.points[0].metrics))

    @property
    def reference(self) -> MeasuredPoint:
        """The dense detector at its best input size, the smaller one of equal ones."""
        dense = [one for one in self.points if one.point.method == 'frame']
        return max(dense, key=lambda one: (one.accuracy, -one.point.scale))

    @property
    def recommended(self) -> MeasuredPoint:
        """The recommended point, see :meth:`best`."""
        return self.best()

    def best(self, causal: bool = False) -> MeasuredPoint:
        """Return the fastest point within the loss, of all or of the causal ones.

        With :attr:`fps`, it is the most accurate point that reaches it, or the fastest one if none does.
        """
        points = [one for one in self.points if one.causal >= causal]
        if self.fps:
            fast = [one for one in points if one.fps >= self.fps]
            if fast:
                return max(fast, key=lambda one: (one.accuracy, one.fps))
        else:
            least = self.reference.accuracy - self.max_loss
            points = [one for one in points if one.accuracy >= least]
        return min(points, key=lambda one: one.milliseconds)

    def pareto(self, method: str | None = None, metric: str | None = None) -> list[MeasuredPoint]:
        """Return the points that no other one exceeds in both accuracy and speed, from the fastest on.

        Args:
            method: Method of the points that are compared; None: all.
            metric: Name of the accuracy; None: the metric that decides.
        """
        name, front = metric or self.measure, []
        points = [one for one in self.points if method in (None, one.point.method)]
        for one in sorted(points, key=lambda p: (p.milliseconds, -p.metrics[name])):
            if not front or one.metrics[name] > front[-1].metrics[name]:
                front.append(one)
        return front

    def above_dense(self, one: MeasuredPoint) -> float | None:
        """Return how far a point lies above dense input sizes at equal time, None if none of them is as fast.

        Between two input sizes, accuracy is interpolated linearly in the logarithm of the time.
        """
        dense = self.pareto('frame')
        times = [p.milliseconds for p in dense]
        if one.milliseconds < times[0]:
            return None
        logs = np.log(times), [p.accuracy for p in dense]
        return one.accuracy - float(np.interp(math.log(one.milliseconds), *logs))

    def verdict(self) -> str:
        """Say in one or two sentences what to use."""
        best, causal = self.best(), self.best(causal=True)
        loss = 100 * (self.reference.accuracy - best.accuracy)
        if not self.fps:
            limit = f'within {100 * self.max_loss:g} points of {self.measure}'
            rival = f'no other method is faster {limit}'
        elif best.fps >= self.fps:
            limit = f'{best.fps:.1f} frames per second, {loss:.1f} points of {self.measure} lost'
            rival = f'nothing with {self.fps:g} frames per second is more accurate ({limit})'
        else:
            limit = (
                f'{best.fps:.1f} frames per second; nothing that was measured reaches {self.fps:g}'
            )
            rival = f'nothing is faster ({limit})'
        if best.point.method == 'frame':
            if best.point.scale >= 1:
                return f'Keep the dense detector: {rival}.'
            return f'Use smaller frames instead: {best} is {best.speed_up:.1f} times as fast, and {rival}.'
        text = f'Use {best}: {best.speed_up:.1f} times as fast, {limit}'
        above = self.above_dense(best)
        if above is None:
            text += '; no measured input size of the dense detector is as fast.'
        else:
            side = 'above' if above >= 0 else 'below'
            text += f'; {100 * abs(above):.1f} points {side} smaller frames at equal time.'
        if causal is not best:
            advice = 'keep the dense detector' if causal.point.scale >= 1 else 'use smaller frames'
            if causal.point.method != 'frame':
                advice = f'use {causal}'
            facts = f'{causal.speed_up:.1f} times as fast'
            if self.fps and causal.fps < self.fps:
                facts += (
                    f', {causal.fps:.1f} frames per second; nothing causal reaches {self.fps:g}'
                )
            text += f' It is not causal; for live video {advice} ({facts}).'
        return text

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        front = self.pareto()
        return dict(
            points=[self._row(one, one in front) for one in self.points],
            measure=self.measure,
            max_loss=self.max_loss,
            fps=self.fps,
            reference=self._row(self.reference, True),
            recommended=self._row(self.recommended, True),
            recommended_causal=self._row(self.best(causal=True), self.best(causal=True) in front),
            verdict=self.verdict(),
            settings=self.settings,
        )

    def _row(self, one: MeasuredPoint, on_front: bool) -> dict[str, Any]:
        row = dict(one.point._asdict(), interval=one.interval, milliseconds=one.milliseconds)
        return row | dict(
            speed_up=one.speed_up, metrics=one.metrics, causal=one.causal,
            above_dense=self.above_dense(one), pareto=on_front,
        )  # fmt: skip

    def markdown(self) -> str:
        """Table of all points from the slowest on, with the verdict before it."""
        names, front = list(self.points[0].metrics), self.pareto()
        sizes = self.settings.get('sizes', {})
        rows = [('method', 'l', 'input', 'ms', 'speed-up', *names, 'above smaller frames', 'front')]
        for one in sorted(self.points, key=lambda p: -p.milliseconds):
            method, interval, scale, smooth = one.point
            dense, above = method == 'frame', self.above_dense(one)
            differs = abs(one.interval - interval) > 0.05 * interval or method == 'adaptive'
            average = f' ({one.interval:.1f})' if differs else ''
            rows.append((
                ('dense' if dense else method)
                + ('' if one.causal else ' (offline)')
                + (f', averaged scores ({smooth})' if smooth else ''),
                '' if dense else f'{interval}{average}',
                ' × '.join(map(str, sizes.get(scale, (f'{scale:g}',)))),
                f'{one.milliseconds:.1f}',
                f'{one.speed_up:.2f}',
                *(f'{100 * one.metrics[name]:.1f}' for name in names),
                '' if dense or above is None else f'{100 * above:+.1f}',
                'recommended' if one is self.recommended else '×' if one in front else '',
            ))  # fmt: skip
        return f'{self.verdict()}\n\n{markdown_table(rows)}\n\n{self._protocol()}\n'

    def _protocol(self) -> str:
        given = self.settings
        against = (
            "agreement with the dense detector's boxes at the config's input size, of a score of at least "
            f'{given.get("min_score")}, not accuracy against labels'
        )
        if given.get('labels'):
            against = f'labels; "agreement" (AP, and AP_50 as "agreement_50") by {against}'
        return (
            f'{given.get("frames")} frames of {given.get("clips")} clips; metrics in per cent, by {against}; '
            f'positions of the key frames: {given.get("places")}; l in brackets: average interval; times in ms per '
            f'frame of {given.get("timed")} from decoding to boxes, median of {given.get("rounds")} interleaved '
            'rounds. "Above smaller frames" is the difference to the dense detector at the input size that takes the '
            'same time.'
        )

    def plot(self, path: str | Path) -> None:
        """Draw accuracy over time, by the first two metrics, and write the picture to ``path``."""
        names = list(self.points[0].metrics)[:2]
        figure = Figure(figsize=(6.5 * len(names), 5), layout='constrained')
        FigureCanvasAgg(figure)
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            self._draw(axes, name)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc='outside right center')
        with atomic_path(path) as unfinished:
            figure.savefig(unfinished, dpi=120)

    def _draw(self, axes: Any, name: str) -> None:
        """Draw the points of every method, and a line along its own front."""
        for method, marker in MARKERS.items():
            own = [one for one in self.points if one.point.method == method]
            if not own:
                continue
            label = 'dense' if method == 'frame' else method
            drawn = axes.scatter(
                [p.milliseconds for p in own], [100 * p.metrics[name] for p in own],
                marker=marker, alpha=0.35, s=30,
            )  # fmt: skip
            color, front = drawn.get_facecolor()[0, :3], self.pareto(method, name)
            x, y = [p.milliseconds for p in front], [100 * p.metrics[name] for p in front]
            axes.plot(x, y, marker=marker, color=color, label=label)
            for one, left, top in zip(front, x, y, strict=True):
                text = (
                    f'{100 * one.point.scale:g} %'
                    if method == 'frame'
                    else f'{one.point.key_interval}'
                )
                axes.annotate(
                    text, (left, top), xytext=(4, 4), textcoords='offset points', fontsize=7
                )
        best = self.recommended
        axes.scatter(
            best.milliseconds, 100 * best.metrics[name], s=220, facecolors='none', edgecolors='black',
            label='recommended',
        )  # fmt: skip
        axes.set(xlabel='ms per frame, decoding to boxes', ylabel=f'{name}, %', xscale='log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter('{x:g}')
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(which='both', alpha=0.3)
