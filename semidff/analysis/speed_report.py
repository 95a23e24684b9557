"""Reports of speed: methods of one video detector with several options, or several detectors side by side."""

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from semidff.datasets.samplers import frames_of_videos
from semidff.inference.acceleration import Acceleration, accelerate
from semidff.inference.loading import frame_pipeline, load_model
from semidff.inference.methods import method_class
from semidff.models.video_detector import VideoDetector
from semidff.utils.configs import read_config
from semidff.utils.image_detectors import test_datasets

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
    'to_device': 'copy to the device, normalization, padding',
}
SCHEDULED = 'test_cfg.schedule: the speed is not measured, since the key frames depend on the video'
"""Note of rows without a speed."""

_COLUMNS = {
    'fps': ('fps', '.2f'),
    'key': ('key p50/p90/p99, ms', '.1f'),
    'non_key': ('non-key p50/p90/p99, ms', '.1f'),
    'speed_up': ('speed-up', '.2f'),
    'spread': ('spread', '.1%'),
    'workers': ('workers', 'd'),
}
_BOUNDS = {
    'ratio': 'r (DFF Eq. 5)',
    'bound_network': 'bound at l = {}, network (DFF Eq. 7)',
    'bound_end_to_end': 'bound at l = {}, decoding to boxes',
}


class SpeedRow(NamedTuple):
    """A detector, its weights, and how it is run."""

    name: str
    config: str
    checkpoint: str
    method: str
    key_interval: int

    @classmethod
    def parse(cls, text: str) -> 'SpeedRow':
        """Read ``NAME=CONFIG,CHECKPOINT,METHOD,L``."""
        # names of files may have commas
        match = re.fullmatch(r'([^=]+)=(.+?\.\w+),(.+),([\w-]+),([1-9]\d*)', text)
        if not match:
            raise ValueError(f'--row {text!r}: expected NAME=CONFIG,CHECKPOINT,METHOD,L')
        name, config, checkpoint, method, interval = match.groups()
        method_class(method)  # refuses unknown methods
        return cls(name, config, checkpoint, method, int(interval))


@torch.no_grad()
def measure_methods(
    model: VideoDetector,
    video: str,
    pack: Callable[[np.ndarray], dict],
    methods: Sequence[str] = ('frame', 'propagate'),
    options: Sequence[Acceleration] = (Acceleration(),),
    key_interval: int = 10,
    rounds: int = 5,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure the speed of methods of one video detector from decoding to boxes, and the times of its parts.

    Args:
        model: With a temporal module, on its device; it is not changed.
        pack: Makes a collated test batch of a frame (H, W, 3) uint8.
        methods: Methods of :class:`~semidff.inference.VideoEngine`; ``frame``, the reference, is always added.
        options: Sets of speed options; speed-ups compare methods with the same options.
        key_interval: Key-frame interval l, at least 2.

    Returns:
        ``rows``, by options and method, as of :func:`measure_rows`, with ``detections`` per frame, ``gpu_memory_mib``
        and ``end_to_end``, the same with decoding, and percentiles of the milliseconds of ``key`` and ``non_key``
        frames. ``parts``, by options: ``parts_ms``, ``ratio`` (DFF Eq. 5), ``bound_network`` (Eq. 7) and
        ``bound_end_to_end``.
    """
    if not model.has_temporal:
        raise ValueError('the model has no temporal module: give a stage-two config')
    if key_interval < 2:
        raise ValueError(f'needs key_interval >= 2, got {key_interval=}')
    tasks: dict[Any, Callable] = {}
    options, methods = list(dict.fromkeys(options)), list(dict.fromkeys(['frame', *methods]))
    for one in options:
        fast = accelerate(copy.deepcopy(model).eval(), one)
        for method in methods:
            timer = ClipTimer(fast, method, _frames(method, key_interval, key_interval), pack)
            tasks[one, method] = _on_clips(timer.run, clips_of(video, key_interval + 1))
        packed = (map(pack, clip) for clip in clips_of(video, key_interval + 1))
        tasks[one] = _on_clips(partial(time_parts, fast), packed)
    times = take_turns(tasks, rounds, progress)
    rows, parts = {}, {}
    for one in options:
        own = {method: times[one, method] for method in methods}
        parts[str(one)] = _bounds(list(own.values()), PartTimes.medians(times[one]), key_interval)
        for method, clips in own.items():
            row = rows[f'{one}: {method}'] = _speeds(clips, own['frame'], 'network')
            row['end_to_end'] = _speeds(clips, own['frame'], 'total') | _latencies(clips, method)
            row['detections'] = float(np.mean([c.detections / len(c.seconds) for c in clips]))
            row['gpu_memory_mib'] = max((c.memory for c in clips if c.memory), default=None)
    return dict(key_interval=key_interval, rounds=rounds, rows=rows, parts=parts)


@torch.no_grad()
def measure_rows(
    rows: Sequence[SpeedRow],
    rounds: int = 10,
    video: str | None = None,
    cfg_options: dict | None = None,
    device: str = 'cpu',
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure the speed of networks and post-processing of several detectors, methods and key-frame intervals.

    Rows with the same config and checkpoint share one model. ``test_cfg.smooth_scores`` and ``smooth_boxes`` of the
    configs are applied within a clip. With a ``test_cfg.schedule``, the key frames depend on the video, so only method
    *frame* has a speed.

    Args:
        rows: The rows, with different names.
        video: A video file or a folder of frames; None: videos of each config's test data set.
        cfg_options: Settings that replace those of every config, by dotted keys.

    Returns:
        ``reference``, the name of the first row with method *frame*, or None; ``rounds``; and ``rows``, by name:
        ``fps`` from the median clip; ``speed_up`` over the reference, the median over rounds; ``spread``, the
        interquartile range of the rounds' speed-ups, of the reference its times, relative to their median; and
        ``workers``, the number of intervals that are processed at once. Without a reference, speed-ups are None and
        spreads those of times. For a row with a key-frame schedule all four are None, and ``note`` says so.
    """
    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names):
        raise ValueError(f'needs rows of different names, got {names}')
    longest = max(row.key_interval for row in rows)
    tasks: dict[str, Callable] = {}
    sources: dict[str, Callable[[int], list[dict]]] = {}
    for path, checkpoint in dict.fromkeys((row.config, row.checkpoint) for row in rows):
        members = [row for row in rows if (row.config, row.checkpoint) == (path, checkpoint)]
        cfg = read_config(path, cfg_options or {})
        methods = [row.method for row in members]
        needs_all = (method for method in methods if method_class(method).uses_temporal)
        model = load_model(cfg, checkpoint, device, next(needs_all, methods[0]))
        pack, source = _pack, str(test_datasets(cfg))
        if video:
            pack = pack_with(frame_pipeline(cfg))
        elif source not in sources:
            sources[source] = _clips_of_test_data(cfg, longest + 1, rounds + 1)
        test = cfg.get('test_cfg') or {}
        for row in members:
            if test.get('schedule') and row.method != 'frame':
                continue
            count = _frames(row.method, row.key_interval, longest)
            smoothing = {name: test.get(name, 0) for name in ('smooth_scores', 'smooth_boxes')}
            timer = ClipTimer(model, row.method, count, pack, **smoothing)
            own = clips_of(video, longest + 1) if video else map(sources[source], range(rounds + 1))
            tasks[row.name] = _on_clips(timer.run, own)
    times = take_turns({name: tasks[name] for name in names if name in tasks}, rounds, progress)
    reference = next((row.name for row in rows if row.method == 'frame'), None)
    unknown = dict(fps=None, speed_up=None, spread=None, workers=None, note=SCHEDULED)
    figures = {
        name: _speeds(times[name], times.get(reference), 'network') if name in times else unknown
        for name in names
    }
    return dict(reference=reference, rounds=rounds, rows=figures)


def _pack(item: dict) -> dict:
    """Make a batch of a packed frame, whose data sample other rows share."""
    return pseudo_collate([dict(item, data_samples=item['data_samples'].new())])


def _frames(method: str, key_interval: int, longest: int) -> int:
    return min(longest, MAX_DENSE_FRAMES) if method == 'frame' else key_interval


def _on_clips(function: Callable, clips: Iterator[Iterable]) -> Callable:
    return lambda: function(next(clips))


def _clips_of_test_data(cfg: Config, length: int, count: int) -> Callable[[int], list[dict]]:
    """Return the function that prepares one of ``count`` clips, of evenly spaced videos of a config's test data set.

    A clip longer than its video starts over at the video's end.
    """
    if not cfg.get('test_dataloader'):
        raise ValueError(f'{cfg.filename}: no test_dataloader; give a --video')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    videos = frames_of_videos(dataset)

    @lru_cache(maxsize=1)  # the rows take turns on it
    def clip(number: int) -> list[dict]:
        indices = videos[number * len(videos) // count]
        return [dataset[index] for index in islice(cycle(indices), length)]

    return clip


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
    decode, pipeline, to_device = overheads.values()
    every = to_device if clips[0].memory is not None else sum(overheads.values())
    return dict(
        parts_ms=overheads | times._asdict(),
        ratio=times.ratio,
        bound_network=times.bound(key_interval),
        bound_end_to_end=times.bound(key_interval, every, max(decode, pipeline)),
    )


def speed_tables(report: Mapping[str, Any]) -> list[list[tuple[str, ...]]]:
    """Return the tables of a report: times of the parts, speeds, memory; only those of what was measured."""
    rows, parts = report['rows'], report.get('parts')
    tables = [_table('networks and post-processing', rows)]
    if not parts:
        return tables
    runs, labels = list(parts.values()), OVERHEADS | PARTS
    times = [('part times, ms', *parts)]
    for name in runs[0]['parts_ms']:
        times.append((labels[name], *(f'{run["parts_ms"][name]:.1f}' for run in runs)))
    for name, label in _BOUNDS.items():
        label = label.format(report['key_interval'])
        times.append((label, *(f'{run[name]:.3f}' for run in runs)))
    whole = {name: row['end_to_end'] for name, row in rows.items()}
    tables = [times, *tables, _table('decoding to boxes', whole)]
    memory = [(name, row['gpu_memory_mib']) for name, row in rows.items() if row['gpu_memory_mib']]
    if memory:
        memory = [(name, f'{value:.0f}') for name, value in memory]
        tables.append([('peak memory of the GPU', 'MiB'), *memory])
    return tables


def _table(title: str, rows: Mapping[str, dict]) -> list[tuple[str, ...]]:
    used = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows.values())]
    table = [(title, *(_COLUMNS[key][0] for key in used))]
    for name, row in rows.items():
        cells = []
        for key in used:
            value = row.get(key)
            values = value.values() if isinstance(value, dict) else [] if value is None else [value]
            cells.append(' / '.join(format(one, _COLUMNS[key][1]) for one in values) or '-')
        table.append((name, *cells))
    return table
