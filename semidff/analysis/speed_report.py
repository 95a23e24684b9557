"""Report of speed: detectors, methods, key-frame intervals and speed options side by side."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config

from semidff.datasets.samplers import frames_of_videos
from semidff.inference.acceleration import PRECISIONS, Acceleration
from semidff.inference.executors import Executor
from semidff.inference.loading import frame_pipeline, load_model
from semidff.inference.methods import method_class
from semidff.inference.schedules import build_schedule
from semidff.utils.command_line import parse_settings
from semidff.utils.image_detectors import read_model, test_datasets

from .evaluation_clips import EvaluationClip
from .speed import (
    PARTS,
    ClipTimer,
    ClipTimes,
    PartTimes,
    clips_of,
    pack_with,
    take_turns,
    time_parts,
)

MAX_DENSE_FRAMES = 10
"""Longest clip of method *frame*, whose frames all take the same time."""

PERCENTILES = (50, 90, 99)
OVERHEADS = {
    'decode': 'decoding',
    'pipeline': "resizing, the config's test pipeline",
}

_COLUMNS = {
    'fps': ('fps', '.2f'),
    'key': ('key p50/p90/p99, ms', '.1f'),
    'non_key': ('non-key p50/p90/p99, ms', '.1f'),
    'speed_up': ('speed-up', '.2f'),
    'spread': ('spread', '.1%'),
    'workers': ('workers', 'd'),
    'over': ('over', ''),
}
_BOUNDS = {
    'ratio': 'r (DFF Eq. 5)',
    'bound_network': 'bound at l = {}, network (DFF Eq. 7)',
    'bound_end_to_end': 'bound at l = {}, decoding to boxes',
}


class SpeedRow(NamedTuple):
    """How a detector is run.

    Attributes:
        checkpoint: Its weights; None: random ones, but for a detector with a checkpoint of its own.
        key_interval: Key-frame interval l; the average one with a schedule, which need not be an integer.
        adaptive: File of an :class:`~semidff.inference.AdaptiveSchedule`; otherwise, ``test_cfg.schedule`` of the
            config is the schedule, if there is one.
        scale: Input size relative to that of the config, for height and width.
        precision: See :class:`~semidff.inference.Acceleration`, with ``channels_last``, ``compile``, ``graphs`` and
            ``runtime``; default: that of the config.
        light_every: Those of the engine, as ``filter``; default: those of the config's ``test_cfg``.
    """

    name: str
    config: str
    checkpoint: str | None
    method: str
    key_interval: float = 1
    adaptive: str | None = None
    scale: float = 1.0
    precision: str | None = None
    channels_last: bool | None = None
    compile: bool = False
    graphs: bool | None = None
    light_every: int | None = None
    filter: str | None = None
    runtime: str = 'torch'

    @property
    def options(self) -> tuple:
        return self.precision, self.channels_last, self.compile, self.graphs, self.runtime

    @classmethod
    def parse(cls, text: str) -> 'SpeedRow':
        """Read ``NAME=CONFIG,CHECKPOINT,METHOD,L[,OPTION=VALUE ...]``."""
        options = '|'.join(cls._fields[5:])
        # names of files may have commas
        match = re.fullmatch(
            rf'([^=]+)=(.+?\.\w+),(.+),([\w-]+),([1-9]\d*(?:\.\d+)?)((?:,(?:{options})=[^,]+)*)',
            text,
        )
        if not match:
            raise ValueError(
                f'--row {text!r}: expected NAME=CONFIG,CHECKPOINT,METHOD,L[,OPTION=VALUE ...] with the options '
                f'{options.replace("|", ", ")}'
            )
        *paths, method, interval, options = match.groups()
        method_class(method)  # refuses unknown methods
        settings = parse_settings(options.split(',')[1:]) if options else {}
        return cls(*paths, method, float(interval), **settings)


@torch.no_grad()
def measure_speed(
    rows: Sequence[SpeedRow],
    rounds: int = 10,
    video: str | None = None,
    shape: Sequence[int] | None = None,
    cfg_options: dict | None = None,
    device: str = 'cpu',
    parts: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure the speed of several detectors, methods, key-frame intervals and speed options.

    Rows with the same config, checkpoint and speed options share one model. Results are filtered within a clip.

    Args:
        rows: The rows, with different names.
        video: A video file or a folder of frames; None: videos of each config's test data set.
        shape: Height and width to which frames are resized, in place of the configs' resizing.
        cfg_options: Settings that replace those of every config, by dotted keys.
        parts: Whether to measure the times of the parts of models with a temporal module, too.

    Returns:
        ``reference``, the name of the first row with method *frame*, or None; ``key_interval``, the longest one;
        ``rounds``; and ``rows``, by name: ``fps`` of networks and post-processing, from the median clip; ``speed_up``,
        the median over rounds, ``over`` the first row with method *frame* and the same speed options, in the fastest of
        its runtimes, or else over the reference; ``spread``, the interquartile range of the rounds' speed-ups, of a row
        that is compared with itself of its times, relative to their median; ``workers``, the number of intervals that
        are processed at once; ``detections`` per frame; ``gpu_memory_mib``; and ``end_to_end``, the same with decoding,
        and percentiles of the
        milliseconds of ``key`` and ``non_key`` frames. Without a reference, speed-ups are None and spreads those of
        times. With ``parts``, also ``parts``, by speed options: ``parts_ms``, ``ratio`` (DFF Eq. 5), ``bound_network``
        (Eq. 7) and ``bound_end_to_end`` at the longest key-frame interval.
    """
    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names):
        raise ValueError(f'needs rows of different names, got {names}')
    longest = math.ceil(max(row.key_interval for row in rows))
    tasks, part_tasks, labels, test_clips = {}, {}, {}, {}
    groups: dict[tuple, list[SpeedRow]] = {}
    for row in rows:
        groups.setdefault((row.config, row.checkpoint, *row.options), []).append(row)
    for (path, checkpoint, *options), members in groups.items():
        cfg = read_model(path, cfg_options or {})
        torch.manual_seed(0)  # random weights are the same with all options
        methods = [row.method for row in members]
        needs_all = (method for method in methods if method_class(method).uses_temporal)
        executor = load_model(cfg, checkpoint, device, next(needs_all, methods[0]), None, *options)
        clips, source = partial(clips_of, video, longest + 1), str(test_datasets(cfg))
        if not video:
            if source not in test_clips:
                test_clips[source] = _clips_of_test_data(cfg, longest + 1, rounds + 1)
            clips = partial(map, EvaluationClip.images, test_clips[source])
        for row in members:
            timer = _timer(row, executor, longest, shape)
            tasks[row.name] = _on_clips(timer.run, clips())
        if parts and executor.model.has_temporal and members[0].runtime == 'torch':
            pack = pack_with(frame_pipeline(cfg, shape))
            packed = map(partial(map, pack), clips())
            part_tasks[tuple(options)] = _on_clips(partial(time_parts, executor.model), packed)
            dtype = executor.model.autocast
            precision = next(name for name, one in PRECISIONS.items() if one == dtype)
            labels[tuple(options)] = str(Acceleration(precision, *options[1:]))
    times = take_turns({name: tasks[name] for name in names} | part_tasks, rounds, progress)
    firsts = {row.options: row.name for row in reversed(rows) if row.method == 'frame'}
    dense = {}  # by the options without runtime
    typical = {name: np.median([clip.network for clip in times[name]]) for name in firsts.values()}
    for options, name in sorted(firsts.items(), key=lambda one: typical[one[1]]):
        dense.setdefault(options[:-1], name)
    reference = next((row.name for row in rows if row.method == 'frame'), None)
    report = dict(reference=reference, key_interval=longest, rounds=rounds, rows={})
    for row in rows:
        over = dense.get(row.options[:-1], reference)
        own, others = times[row.name], times.get(over)
        figures, whole = (_speeds(own, others, of) | dict(over=over) for of in ('network', 'total'))
        report['rows'][row.name] = figures
        figures['end_to_end'] = whole | _latencies(own, row.method)
        figures['detections'] = float(np.mean([c.detections / len(c.seconds) for c in own]))
        figures['gpu_memory_mib'] = max((c.memory for c in own if c.memory), default=None)
    for options, label in labels.items():
        alike = [times[row.name] for row in rows if row.options == options]
        found = _bounds(alike, PartTimes.medians(times[options]), longest)
        report.setdefault('parts', {})[label] = found
    return report


def _timer(
    row: SpeedRow, executor: Executor, longest: int, shape: Sequence[int] | None
) -> ClipTimer:
    cfg = executor.model.cfg
    pack = pack_with(frame_pipeline(cfg, shape, row.scale))
    test = cfg.get('test_cfg') or {}
    options = dict(
        filter=row.filter or test.get('filter'),
        light_every=test.get('light_every', 1) if row.light_every is None else row.light_every,
    )
    if row.method == 'frame':
        return ClipTimer(executor, 'frame', min(longest, MAX_DENSE_FRAMES), pack, **options)
    schedule = test.get('schedule')
    if row.adaptive:
        schedule = dict(type='AdaptiveSchedule', file=row.adaptive, tolerance=math.inf)
    schedule = schedule and build_schedule(schedule)
    return ClipTimer(executor, row.method, row.key_interval, pack, schedule, **options)


def _on_clips(function: Callable, clips: Iterator[Iterable]) -> Callable:
    return lambda: function(next(clips))


def _clips_of_test_data(cfg: Config, length: int, count: int) -> list[EvaluationClip]:
    """Return ``count`` clips, of evenly spaced videos of a config's test data set.

    A clip longer than its video starts over at the video's end.
    """
    if not cfg.get('test_dataloader'):
        raise ValueError(f'{cfg.filename}: no test_dataloader; give a --video')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    videos, clips = frames_of_videos(dataset), []
    for number in range(count):
        indices = islice(cycle(videos[number * len(videos) // count]), length)
        files = (dataset.get_data_info(index)['img_path'] for index in indices)
        clips.append(EvaluationClip(files=tuple(files)))
    return clips


def _speeds(clips: Sequence[ClipTimes], dense: Sequence[ClipTimes] | None, of: str) -> dict:
    """Compute fps, speed-up and spread of ``network`` or ``total`` from the rounds of a row and of its reference."""
    own = np.array([getattr(clip, of) for clip in clips])
    # The ratio of the reference to itself would not show how much its times vary.
    itself = dense is None or dense is clips
    relative = own if itself else np.array([getattr(clip, of) for clip in dense]) / own
    low, middle, high = np.percentile(relative, (25, 50, 75))
    speed_up = None if dense is None else 1.0 if itself else float(middle)
    spread, workers = float((high - low) / middle), clips[0].workers
    return dict(fps=float(1 / np.median(own)), speed_up=speed_up, spread=spread, workers=workers)


def _latencies(clips: Sequence[ClipTimes], method: str) -> dict[str, dict[str, float]]:
    times = 1000 * np.array([clip.seconds.sum(axis=1) for clip in clips])
    kinds = dict(key=times) if method == 'frame' else dict(key=times[:, :1], non_key=times[:, 1:])
    return {
        kind: {f'p{p}': float(np.percentile(values, p)) for p in PERCENTILES}
        for kind, values in kinds.items()
    }


def _bounds(
    methods: Sequence[Sequence[ClipTimes]], times: PartTimes, key_interval: int
) -> dict[str, Any]:
    """Compute r and the bounds of the speed-ups of one set of options."""
    clips = [clip for several in methods for clip in several]
    seconds = np.concatenate([clip.seconds for clip in clips])
    overheads = dict(zip(OVERHEADS, 1000 * np.median(seconds[:, :-1], axis=0), strict=True))
    overheads = {name: float(value) for name, value in overheads.items()}
    decode, pipeline = overheads.values()
    every = times.to_device + (0 if clips[0].memory is not None else decode + pipeline)
    return dict(
        parts_ms=overheads | times._asdict(),
        ratio=times.ratio,
        bound_network=times.bound(key_interval),
        bound_end_to_end=times.bound(key_interval, every, max(decode, pipeline)),
    )


def speed_tables(report: Mapping[str, Any]) -> list[list[tuple[str, ...]]]:
    """Return the tables of a report: times of the parts, speeds, memory; only those of what was measured."""
    rows, parts, tables = report['rows'], report.get('parts'), []
    if parts:
        runs, labels = list(parts.values()), OVERHEADS | PARTS
        times = [('part times, ms', *parts)]
        for name in runs[0]['parts_ms']:
            times.append((labels[name], *(f'{run["parts_ms"][name]:.1f}' for run in runs)))
        for name, label in _BOUNDS.items():
            label = label.format(report['key_interval'])
            times.append((label, *(f'{run[name]:.3f}' for run in runs)))
        tables.append(times)
    whole = {name: row['end_to_end'] for name, row in rows.items()}
    tables += [
        _table(title, own, report['reference'])
        for title, own in (('normalization to boxes', rows), ('decoding to boxes', whole))
    ]
    memory = [(name, row['gpu_memory_mib']) for name, row in rows.items() if row['gpu_memory_mib']]
    if memory:
        memory = [(name, f'{value:.0f}') for name, value in memory]
        tables.append([('peak memory of the GPU', 'MiB'), *memory])
    return tables


def _table(title: str, rows: Mapping[str, dict], reference: str | None) -> list[tuple[str, ...]]:
    used = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows.values())]
    if all(row['over'] == reference for row in rows.values()):
        used = [key for key in used if key != 'over']
    table = [(title, *(_COLUMNS[key][0] for key in used))]
    for name, row in rows.items():
        cells = []
        for key in used:
            value = row.get(key)
            values = value.values() if isinstance(value, dict) else [] if value is None else [value]
            cells.append(' / '.join(format(one, _COLUMNS[key][1]) for one in values) or '-')
        table.append((name, *cells))
    return table
