"""What a speed benchmark found: figures, and tables of them for screen and markdown."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .clip_timer import Clip
from .part_times import PARTS, PartTimes

PERCENTILES = (50, 90, 99)
OVERHEADS = {
    'decode': 'decoding',
    'pipeline': "resizing, the config's test pipeline",
    'to_device': 'copy to the device, normalization, padding',
}


class MethodTimes(NamedTuple):
    """What one mode with one set of options took for each frame: milliseconds, (clips, l).

    Attributes:
        decode: Decoding.
        pipeline: The config's test pipeline: resizing.
        to_device: Copy to the device, normalization, padding.
        network: Networks and post-processing.
        detections: Mean number of detections per frame.
        memory: Peak of the GPU's memory in MiB; None on CPUs.
    """

    decode: np.ndarray
    pipeline: np.ndarray
    to_device: np.ndarray
    network: np.ndarray
    detections: float = 0.0
    memory: float | None = None

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> 'MethodTimes':
        """The measurements of several clips of l frames."""
        times = 1000 * np.array([clip.seconds for clip in clips])
        detections = sum(clip.detections for clip in clips) / times[..., 0].size
        memory = None if clips[0].memory is None else max(clip.memory for clip in clips)
        return cls(*np.moveaxis(times, 2, 0), detections, memory)

    @property
    def total(self) -> np.ndarray:
        """From decoding to boxes."""
        return self.decode + self.pipeline + self.to_device + self.network


class Run(NamedTuple):
    """One set of speed options.

    Attributes:
        options: What they are called.
        parts: Times of the parts under these options.
        methods: By method; ``frame``, the dense detector, is among them.
    """

    options: str
    parts: PartTimes
    methods: dict[str, MethodTimes]

    @property
    def around(self) -> dict[str, float]:
        """Medians of what every frame takes beside the network, by the names of :data:`OVERHEADS`."""
        return {
            name: float(np.median([getattr(times, name) for times in self.methods.values()]))
            for name in OVERHEADS
        }


class SpeedReport(NamedTuple):
    """All of a benchmark.

    Attributes:
        key_interval: Key-frame duration l.
        runs: One for each set of options; gains are counted from the first.
        process_memory: Peak of the process's memory in MiB, all models of the benchmark together.
    """

    key_interval: int
    runs: Sequence[Run]
    process_memory: float

    def to_dict(self) -> dict[str, Any]:
        """All figures, for json."""
        return dict(
            key_interval=self.key_interval,
            process_memory_mib=self.process_memory,
            runs=[self._run(run) for run in self.runs],
        )

    def _run(self, run: Run) -> dict[str, Any]:
        length, parts, around = self.key_interval, run.parts, run.around
        return dict(
            options=run.options,
            parts_ms={**around, **parts._asdict()},
            ratio=parts.ratio,
            bound_network=parts.bound(length),
            bound_end_to_end=parts.bound(length, sum(around.values())),
            modes={mode: self._mode(run, mode) for mode in run.methods},
        )

    def _mode(self, run: Run, mode: str) -> dict[str, Any]:
        walk, dense, first = run.methods[mode], run.methods['frame'], self.runs[0].methods['frame']
        total = _median_clip(walk.total)
        figures = dict(
            fps=1000 / total,
            end_to_end_ms=_latencies(walk.total, mode),
            network_ms=_latencies(walk.network, mode),
            speedup_network=_speedup(dense.network, walk.network),
            speedup_end_to_end=_speedup(dense.total, walk.total),
            gain_over_first=_speedup(first.total, walk.total),
            detections=walk.detections,
            gpu_memory_mib=walk.memory,
        )
        if mode == 'propagate':
            figures.update(self._shares(run, figures))
        return figures

    def _shares(self, run: Run, figures: dict) -> dict[str, float]:
        """Speed-ups as parts of their bounds."""
        length, around = self.key_interval, sum(run.around.values())
        network, whole = run.parts.bound(length), run.parts.bound(length, around)
        return dict(
            share_network=figures['speedup_network'] / network,
            share_end_to_end=figures['speedup_end_to_end'] / whole,
            share_end_to_end_of_eq7=figures['speedup_end_to_end'] / network,
        )

    def text(self) -> str:
        """For a screen."""
        return '\n\n'.join(_aligned(rows) for rows in self._tables())

    def markdown(self) -> str:
        """The same as tables of a markdown page."""
        return '\n\n'.join(_markdown(rows) for rows in self._tables()) + '\n'

    def _tables(self) -> list[list[tuple[str, ...]]]:
        figures = self.to_dict()['runs']
        memory = [
            (f'{run["options"]}: {mode}', _number(one['gpu_memory_mib'], '.0f'))
            for run in figures
            for mode, one in run['modes'].items()
            if one['gpu_memory_mib'] is not None
        ]
        memory.append(('the process, all of the above together', f'{self.process_memory:.0f}'))
        return [
            self._part_rows(figures),
            self._latency_rows(figures),
            self._speedup_rows(figures),
            [('peak memory', 'MiB'), *memory],
        ]

    def _part_rows(self, figures: list[dict]) -> list[tuple[str, ...]]:
        length = self.key_interval
        rows = [('part times, ms', *(run['options'] for run in figures))]
        for name, text in {**OVERHEADS, **PARTS}.items():
            rows.append((text, *(f'{run["parts_ms"][name]:.1f}' for run in figures)))
        for name, text, form in (
            ('ratio', 'r (DFF Eq. 5)', '.4f'),
            ('bound_network', f'bound at l = {length}, network (DFF Eq. 7)', '.3f'),
            ('bound_end_to_end', f'bound at l = {length}, decoding to boxes', '.3f'),
        ):
            rows.append((text, *(f'{run[name]:{form}}' for run in figures)))
        return rows

    def _latency_rows(self, figures: list[dict]) -> list[tuple[str, ...]]:
        names = '/'.join(f'p{p}' for p in PERCENTILES)
        rows = [('decoding to boxes, ms', 'fps', 'mean', f'key {names}', f'between {names}')]
        for run, mode, one in _each(figures):
            times = one['end_to_end_ms']
            kinds = (_percentile_text(times.get(kind)) for kind in ('key', 'between'))
            rows.append((f'{run}: {mode}', f'{one["fps"]:.2f}', f'{times["mean"]:.1f}', *kinds))
        return rows

    def _speedup_rows(self, figures: list[dict]) -> list[tuple[str, ...]]:
        rows = [
            (
                'speed-up over frame, same options', 'network', 'of its bound', 'decoding to boxes',
                'of its bound', 'of Eq. 7', f'gain over {self.runs[0].options}: frame',
            )
        ]  # fmt: skip
        for run, mode, one in _each(figures):
            shares = (
                _number(one.get(name), '.1%')
                for name in ('share_network', 'share_end_to_end', 'share_end_to_end_of_eq7')
            )
            network, whole, eq7 = shares
            speedups = f'{one["speedup_network"]:.3f}', f'{one["speedup_end_to_end"]:.3f}'
            gain = f'{one["gain_over_first"]:.3f}'
            rows.append((f'{run}: {mode}', speedups[0], network, speedups[1], whole, eq7, gain))
        return rows


def _median_clip(times: np.ndarray) -> float:
    """Mean time per frame of the median clip: the mean of the schedule."""
    return float(np.median(times.mean(axis=1)))


def _speedup(slow: np.ndarray, fast: np.ndarray) -> float:
    """Median over clips, which are compared each with its own: they were timed one after the other."""
    return float(np.median(slow.sum(axis=1) / fast.sum(axis=1)))


def _latencies(times: np.ndarray, mode: str) -> dict[str, Any]:
    """Mean of the schedule, and percentiles of key frames and of the frames between."""
    kinds = dict(key=times) if mode == 'frame' else dict(key=times[:, :1], between=times[:, 1:])
    found = {
        kind: {f'p{p}': float(np.percentile(values, p)) for p in PERCENTILES}
        for kind, values in kinds.items()
    }
    return dict(mean=_median_clip(times), **found)


def _each(figures: list[dict]) -> Iterable[tuple[str, str, dict]]:
    for run in figures:
        for mode, one in run['modes'].items():
            yield run['options'], mode, one


def _percentile_text(percentiles: dict[str, float] | None) -> str:
    if percentiles is None:
        return ''
    return ' / '.join(f'{value:.1f}' for value in percentiles.values())


def _number(value: float | None, form: str) -> str:
    return '' if value is None else f'{value:{form}}'


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = (f'{cell:>{width}}' for cell, width in zip(others, widths[1:], strict=True))
        lines.append('  '.join([f'{first:{widths[0]}}', *cells]).rstrip())
    return '\n'.join(lines)


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ['| ' + ' | '.join(row) + ' |' for row in rows]
    lines.insert(1, '|---' + '|---:' * (len(rows[0]) - 1) + '|')
    return '\n'.join(lines)
