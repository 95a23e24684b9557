"""Speed of detectors, points and speed options side by side, and the parts of DFF Eq. 7."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config

from semidff.checkpoints.detectors import read_model
from semidff.datasets.samplers import frames_of_videos
from semidff.inference.acceleration import PRECISIONS, Acceleration
from semidff.inference.loading import frame_pipeline, load_model
from semidff.inference.point import Point
from semidff.utils.command_line import parse_settings

from .clips import Clip, build_test_dataset
from .speed import (
    PARTS,
    Laps,
    Timer,
    clips_of,
    on_clips,
    speedup_of,
    take_turns,
    time_parts,
)

_OVERHEADS = {'decode': 'decoding', 'pipeline': "resizing, the config's test pipeline"}
_COLUMNS = {
    'key': ('key, ms', '.1f'),
    'non_key': ('non-key, ms', '.1f'),
    'fps': ('fps', '.2f'),
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


class Row(NamedTuple):
    """A point of a detector, with speed options.

    Attributes:
        checkpoint: None: random weights, but for a detector with a checkpoint of its own.
        channels_last, compile, graphs: See :class:`~semidff.inference.Acceleration`; None: those of
            the config.
    """

    name: str
    config: str
    checkpoint: str | None
    point: Point
    channels_last: bool | None = None
    compile: bool = False
    graphs: bool | None = None

    @property
    def options(self) -> tuple:
        """Arguments of :class:`~semidff.inference.Acceleration`."""
        return self.point.precision, *self[4:], self.point.runtime

    @property
    def shares(self) -> tuple[float, float]:
        """Shares of key frames and of light frames."""
        interval, every = self.point.key_interval, self.point.light_every
        return 1 / interval, (interval - 1) // every / interval if every else 0.0

    @classmethod
    def parse(cls, text: str) -> 'Row':
        """Read ``NAME=CONFIG,CHECKPOINT,METHOD,L[,OPTION=VALUE ...]``."""
        name, _, parts = text.partition('=')
        if parts.count(',') < 3:
            raise ValueError(
                f'--row {text!r}: expected NAME=CONFIG,CHECKPOINT,METHOD,L[,OPTION=VALUE ...]'
            )
        config, checkpoint, method, interval, *options = parts.split(',')
        settings = parse_settings(options) if options else {}
        of_row = {key: settings.pop(key) for key in cls._fields[4:] if key in settings}
        return cls(name, config, checkpoint, Point(method, int(interval), **settings), **of_row)


@torch.no_grad()
def measure_speed(
    rows: Sequence[Row],
    rounds: int = 10,
    video: str | None = None,
    shape: Sequence[int] | None = None,
    cfg_options: dict | None = None,
    device: str = 'cpu',
    parts: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure the speed of several detectors, points and speed options.

    Rows with the same config, checkpoint and speed options share one model. Results are filtered
    within a clip.

    Args:
        rows: Rows of different names.
        video: A video file or a folder of frames; None: videos of each config's test data.
        shape: Height and width to which frames are resized, in place of the configs' resizing.
        cfg_options: Settings that replace those of every config, by dotted keys.
        parts: Whether to measure the times of the parts of models with a temporal module, too.

    Returns:
        ``reference``, the name of the first row with method *frame*, or None; ``key_interval``, the
        longest one; ``rounds``; and ``rows``, by name: ``fps`` of networks and post-processing;
        milliseconds of ``key`` and ``non_key`` frames; ``speed_up``, the median over rounds,
        ``over`` the first row with method *frame* and the same speed options, in the fastest of its
        runtimes, or else over the reference; ``spread``, the interquartile range of the rounds'
        speed-ups, of a row that is compared with itself of its times, relative to their median;
        ``workers``; ``detections`` per frame; ``gpu_memory_mib``; and ``end_to_end``, the same with
        decoding. With ``parts``, also ``parts``, by speed options: ``parts_ms``, ``ratio`` (DFF
        Eq. 5), ``bound_network`` (Eq. 7) and ``bound_end_to_end`` at the longest interval.
    """
    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names):
        raise ValueError(f'needs rows of different names, got {names}')
    longest = max(row.point.key_interval for row in rows)
    tasks, part_tasks, labels = {}, {}, {}
    groups: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.config, row.checkpoint, row.options].append(row)
    for (path, checkpoint, options), members in groups.items():
        cfg = read_model(path, cfg_options or {})
        torch.manual_seed(0)  # random weights are the same with all options
        first = next((row for row in members if row.point.uses_temporal), members[0])
        executor = load_model(cfg, checkpoint, device, first.point, None, *options[1:4])
        clips = partial(clips_of, video, longest + 1)
        if not video:
            clips = partial(map, Clip.images, _clips_of_test_data(cfg, longest + 1, rounds + 1))
        for row in members:
            timer = Timer(executor, row.point, frame_pipeline(cfg, shape, row.point.scale))
            tasks[row.name] = on_clips(timer.run, clips())
        if parts and executor.model.has_temporal and first.point.runtime == 'torch':
            run = partial(time_parts, executor.model, pipeline=frame_pipeline(cfg, shape))
            part_tasks[options] = on_clips(run, clips())
            dtype = executor.model.autocast
            precision = next(name for name, value in PRECISIONS.items() if value == dtype)
            labels[options] = str(Acceleration(precision, *options[1:]))
    laps = take_turns({name: tasks[name] for name in names} | part_tasks, rounds, progress)
    report = _summary(rows, laps) | dict(key_interval=longest, rounds=rounds)
    for options, label in labels.items():
        alike = [lap for row in rows if row.options == options for lap in laps[row.name]]
        times = {
            name: 1000 * float(np.median(np.concatenate([lap[name] for lap in laps[options]])))
            for name in PARTS
            if name in laps[options][0]
        }
        report.setdefault('parts', {})[label] = bounds_of(alike, times, longest)
    return report


def _summary(rows: Sequence[Row], laps: Mapping[Any, list[Laps]]) -> dict[str, Any]:
    """Return the figures of rows, of their laps in each round."""
    times = {
        kind: {
            row.name: np.array([getattr(lap, kind)(*row.shares) for lap in laps[row.name]])
            for row in rows
        }
        for kind in ('network', 'total')
    }
    dense: dict[tuple, str] = {}  # by the options without runtime
    firsts = [row for row in rows if row.point.method == 'frame']
    for row in sorted(firsts, key=lambda row: np.median(times['network'][row.name])):
        dense.setdefault(row.options[:-1], row.name)
    reference = firsts[0].name if firsts else None
    report: dict[str, Any] = dict(reference=reference, rows={})
    for row in rows:
        over, own = dense.get(row.options[:-1], reference), laps[row.name]
        common = dict(over=over, workers=own[0].workers)
        figures = _speeds(times['network'], row.name, over) | common
        figures['key'] = 1000 * float(np.median([lap.key for lap in own]))
        if row.point.method != 'frame':
            figures['non_key'] = 1000 * float(np.median([lap.light for lap in own]))
        report['rows'][row.name] = figures | dict(
            end_to_end=_speeds(times['total'], row.name, over) | common,
            detections=float(np.mean([lap.boxes for lap in own])),
            gpu_memory_mib=max((lap.memory for lap in own if lap.memory), default=None),
        )
    return report


def _speeds(times: Mapping[str, np.ndarray], name: str, over: str | None) -> dict[str, Any]:
    """Return fps, speed-up and spread of a row over another one, of their times in each round."""
    # The ratio of the reference to itself would not show how much its times vary.
    relative = times[name] if over in (None, name) else times[over] / times[name]
    low, middle, high = np.percentile(relative, (25, 50, 75))
    speed_up = 1.0 if over == name else float(middle)
    return dict(
        fps=float(1 / np.median(times[name])),
        speed_up=None if over is None else speed_up,
        spread=float((high - low) / middle),
    )


def bounds_of(laps: Sequence[Laps], parts: dict[str, float], key_interval: int) -> dict[str, Any]:
    """Return the times of parts in milliseconds, r, and the bounds of the speed-up (DFF Eq. 7).

    If every frame also takes a milliseconds outside the networks, the bound is
    ``l (a + key) / (l a + key + (l - 1) non_key)``; a frame takes no less than its reading.
    """
    key = parts['feature_network'] + parts['task_key']
    non_key = parts['flow_and_scale'] + parts['warp'] + parts['task_non_key']
    decode, pipeline = (
        1000 * float(np.median([getattr(lap, name) for lap in laps]))
        for name in ('decode', 'prepare')
    )

    def bound(overhead: float = 0.0, reading: float = 0.0) -> float:
        dense = overhead + key
        mean = dense / speedup_of((overhead + non_key) / dense, key_interval)
        return max(dense, reading) / max(mean, reading)

    overhead = parts['to_device'] + (decode + pipeline if laps[0].memory is None else 0.0)
    return dict(
        parts_ms=dict(decode=decode, pipeline=pipeline) | parts,
        ratio=non_key / key,
        bound_network=bound(),
        bound_end_to_end=bound(overhead, max(decode, pipeline)),
    )


def _clips_of_test_data(cfg: Config, length: int, count: int) -> list[Clip]:
    """Return ``count`` clips, of evenly spaced videos of a config's test data set.

    A clip longer than its video starts over at the video's end.
    """
    dataset = build_test_dataset(cfg, 'a --video')
    videos, clips = frames_of_videos(dataset), []
    for number in range(count):
        indices = islice(cycle(videos[number * len(videos) // count]), length)
        files = (dataset.get_data_info(index)['img_path'] for index in indices)
        clips.append(Clip(files=tuple(files)))
    return clips


def speed_tables(report: Mapping[str, Any]) -> Iterator[list[tuple[str, ...]]]:
    """Yield the tables of a report: times of the parts, speeds, memory."""
    rows, reference = report['rows'], report['reference']
    if parts := report.get('parts'):
        runs, names = list(parts.values()), _OVERHEADS | PARTS
        table = [('part times, ms', *parts)]
        for part in runs[0]['parts_ms']:
            table.append((names[part], *(f'{run["parts_ms"][part]:.1f}' for run in runs)))
        for name, label in _BOUNDS.items():
            label = label.format(report['key_interval'])
            table.append((label, *(f'{run[name]:.3f}' for run in runs)))
        yield table
    yield _table('normalization to boxes', rows, reference)
    whole = {name: row['end_to_end'] for name, row in rows.items()}
    yield _table('decoding to boxes', whole, reference)
    memory = {name: row['gpu_memory_mib'] for name, row in rows.items() if row['gpu_memory_mib']}
    if memory:
        yield [('peak memory of the GPU', 'MiB'), *((k, f'{v:.0f}') for k, v in memory.items())]


def _table(title: str, rows: Mapping[str, dict], reference: str | None) -> list[tuple[str, ...]]:
    used = [key for key in _COLUMNS if any(row.get(key) is not None for row in rows.values())]
    if all(row['over'] == reference for row in rows.values()):
        used = [key for key in used if key != 'over']
    table = [(title, *(_COLUMNS[key][0] for key in used))]
    for name, row in rows.items():
        values = [(row.get(key), _COLUMNS[key][1]) for key in used]
        cells = ('-' if value is None else format(value, kind) for value, kind in values)
        table.append((name, *cells))
    return table
