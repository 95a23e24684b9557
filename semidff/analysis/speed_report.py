"""Figures of a speed benchmark, as JSON and as tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from semidff.utils.tables import markdown_table, text_table

from .clip_timer import Clip
from .part_times import PARTS, PartTimes

PERCENTILES = (50, 90, 99)
OVERHEADS = {
    'decode': 'decoding',
    'pipeline': "resizing, the config's test pipeline",
    'to_device': 'copy to the device, normalization, padding',
}


class MethodTimes(NamedTuple):
    """Times of one method with one set of speed options: milliseconds of each frame, (clips, l), the key frame first.

    Attributes:
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
        """Collect the measurements of several clips of l frames."""
        times = 1000 * np.array([clip.seconds for clip in clips])
        detections = sum(clip.detections for clip in clips) / times[..., 0].size
        memory = None if clips[0].memory is None else max(clip.memory for clip in clips)
        return cls(*np.moveaxis(times, 2, 0), detections, memory)

    @property
    def total(self) -> np.ndarray:
        """Time from decoding to boxes."""
        return self.decode + self.pipeline + self.to_device + self.network


class Run(NamedTuple):
    """Measurements with one set of speed options.

    Attributes:
        methods: Times by method; ``frame``, the dense detector, is among them.
    """

    options: str
    parts: PartTimes
    methods: dict[str, MethodTimes]


class SpeedReport(NamedTuple):
    """All measurements of a benchmark.

    Attributes:
        key_interval: Key-frame interval l.
        runs: One for each set of speed options; gains are relative to the first.
        process_memory: Peak of the process's memory in MiB, with all models of the benchmark.
    """

    key_interval: int
    runs: Sequence[Run]
    process_memory: float

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        runs = [self._run(run) for run in self.runs]
        return dict(
            key_interval=self.key_interval, process_memory_mib=self.process_memory, runs=runs
        )

    def _run(self, run: Run) -> dict[str, Any]:
        length, parts = self.key_interval, run.parts
        overheads = {
            name: float(np.median([getattr(times, name) for times in run.methods.values()]))
            for name in OVERHEADS
        }
        figures = dict(
            options=run.options,
            parts_ms={**overheads, **parts._asdict()},
            ratio=parts.ratio,
            bound_network=parts.bound(length),
            bound_end_to_end=parts.bound(length, sum(overheads.values())),
        )
        methods = {method: self._method(run, method) for method in run.methods}
        if propagate := methods.get('propagate'):
            network, end_to_end = propagate['speedup_network'], propagate['speedup_end_to_end']
            propagate.update(
                share_network=network / figures['bound_network'],
                share_end_to_end=end_to_end / figures['bound_end_to_end'],
                share_end_to_end_of_eq7=end_to_end / figures['bound_network'],
            )
        return dict(figures, methods=methods)

    def _method(self, run: Run, method: str) -> dict[str, Any]:
        times, dense, first = run.methods[method], run.methods['frame'], self.runs[0]
        return dict(
            fps=1000 / _mean(times.total),
            end_to_end_ms=_latencies(times.total, method),
            network_ms=_latencies(times.network, method),
            speedup_network=_speedup(dense.network, times.network),
            speedup_end_to_end=_speedup(dense.total, times.total),
            gain_over_first=_speedup(first.methods['frame'].total, times.total),
            detections=times.detections,
            gpu_memory_mib=times.memory,
        )

    def text(self) -> str:
        """Tables for a terminal."""
        return '\n\n'.join(map(text_table, self._tables()))

    def markdown(self) -> str:
        """The same tables in Markdown."""
        return '\n\n'.join(map(markdown_table, self._tables())) + '\n'

    def _tables(self) -> list[list[tuple[str, ...]]]:
        runs = self.to_dict()['runs']
        cases = {
            f'{run["options"]}: {method}': figures
            for run in runs
            for method, figures in run['methods'].items()
        }
        used = {case: figures['gpu_memory_mib'] for case, figures in cases.items()}
        memory = [(case, f'{mib:.0f}') for case, mib in used.items() if mib is not None]
        process = ('the process, all of the above together', f'{self.process_memory:.0f}')
        return [
            self._part_rows(runs),
            _latency_rows(cases),
            _speedup_rows(cases, runs[0]['options']),
            [('peak memory', 'MiB'), *memory, process],
        ]

    def _part_rows(self, runs: list[dict]) -> list[tuple[str, ...]]:
        rows = [('part times, ms', *(run['options'] for run in runs))]
        for name in runs[0]['parts_ms']:
            label = OVERHEADS.get(name) or PARTS[name]
            rows.append((label, *(f'{run["parts_ms"][name]:.1f}' for run in runs)))
        bound = f'bound at l = {self.key_interval},'
        for name, label, form in (
            ('ratio', 'r (DFF Eq. 5)', '.4f'),
            ('bound_network', f'{bound} network (DFF Eq. 7)', '.3f'),
            ('bound_end_to_end', f'{bound} decoding to boxes', '.3f'),
        ):
            rows.append((label, *(f'{run[name]:{form}}' for run in runs)))
        return rows


def _mean(times: np.ndarray) -> float:
    """Mean time per frame of the median clip: the mean of the schedule."""
    return float(np.median(times.mean(axis=1)))


def _speedup(slow: np.ndarray, fast: np.ndarray) -> float:
    """Median over the ratios of clips that were timed one after the other."""
    return float(np.median(slow.sum(axis=1) / fast.sum(axis=1)))


def _latencies(times: np.ndarray, method: str) -> dict[str, Any]:
    """Mean of the schedule, and percentiles of key frames and of non-key frames."""
    kinds = dict(key=times) if method == 'frame' else dict(key=times[:, :1], non_key=times[:, 1:])
    percentiles = {
        kind: {f'p{p}': float(np.percentile(values, p)) for p in PERCENTILES}
        for kind, values in kinds.items()
    }
    return dict(mean=_mean(times), **percentiles)


def _latency_rows(cases: dict[str, dict]) -> list[tuple[str, ...]]:
    names = '/'.join(f'p{p}' for p in PERCENTILES)
    rows = [('decoding to boxes, ms', 'fps', 'mean', f'key {names}', f'non-key {names}')]
    for case, figures in cases.items():
        times = figures['end_to_end_ms']
        kinds = (
            ' / '.join(f'{value:.1f}' for value in times.get(kind, {}).values())
            for kind in ('key', 'non_key')
        )
        rows.append((case, f'{figures["fps"]:.2f}', f'{times["mean"]:.1f}', *kinds))
    return rows


def _speedup_rows(cases: dict[str, dict], first: str) -> list[tuple[str, ...]]:
    columns = {
        'speedup_network': ('network', '.3f'),
        'share_network': ('of its bound', '.1%'),
        'speedup_end_to_end': ('decoding to boxes', '.3f'),
        'share_end_to_end': ('of its bound', '.1%'),
        'share_end_to_end_of_eq7': ('of Eq. 7', '.1%'),
        'gain_over_first': (f'gain over {first}: frame', '.3f'),
    }
    rows = [('speed-up over frame, same options', *(title for title, _ in columns.values()))]
    for case, figures in cases.items():
        cells = (
            f'{figures[name]:{form}}' if name in figures else ''
            for name, (_, form) in columns.items()
        )
        rows.append((case, *cells))
    return rows
