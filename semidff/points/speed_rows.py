"""Speed of detectors, points and speed options side by side, and the parts of DFF Eq. 7."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config

from semidff.checkpoints.detectors import read_model, test_datasets
from semidff.datasets.samplers import frames_of_videos
from semidff.inference.acceleration import PRECISIONS, Acceleration
from semidff.inference.loading import frame_pipeline, load_model
from semidff.inference.point import Point
from semidff.utils.command_line import parse_settings

from .clips import Clip, build_test_dataset
from .speed import (
    MOST_DENSE_FRAMES,
    PARTS,
    Laps,
    PartTimes,
    Timer,
    clips_of,
    on_clips,
    pack_with,
    take_turns,
    time_parts,
)

OVERHEADS = {'decode': 'decoding', 'pipeline': "resizing, the config's test pipeline"}

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
    """How a detector is run.

    Attributes:
        checkpoint: Its weights; None: random ones, but for a detector with a checkpoint of its own.
        channels_last, compile, graphs: See :class:`~semidff.inference.Acceleration`; default: those
            of the config.
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
        return self.point.precision, *self[4:], self.point.runtime

    @classmethod
    def parse(cls, text: str) -> 'Row':
        """Read ``NAME=CONFIG,CHECKPOINT,METHOD,L[,OPTION=VALUE ...]``."""
        own = cls._fields[4:]
        of_point = 'scale', 'light_every', 'filter', 'precision', 'runtime'
        options = '|'.join((*own, *of_point))
        # names of files may have commas
        match = re.fullmatch(
            rf'([^=]+)=(.+?\.\w+),(.+),([\w-]+),([1-9]\d*)((?:,(?:{options})=[^,]+)*)', text
        )
        if not match:
            raise ValueError(
                f'--row {text!r}: expected NAME=CONFIG,CHECKPOINT,METHOD,L[,OPTION=VALUE ...] with the options '
                f'{options.replace("|", ", ")}'
            )
        name, config, checkpoint, method, interval, options = match.groups()
        settings = parse_settings(options.split(',')[1:]) if options else {}
        chosen = {key: settings.pop(key) for key in of_point if key in settings}
        point = Point(method, int(interval), **chosen)
        return cls(name, config, checkpoint, point, **settings)


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

    Rows with the same config, checkpoint and speed options share one model. Results are filtered within a clip.

    Args:
        rows: The rows, with different names.
        video: A video file or a folder of frames; None: videos of each config's test data set.
        shape: Height and width to which frames are resized, in place of the configs' resizing.
        cfg_options: Settings that replace those of every config, by dotted keys.
        parts: Whether to measure the times of the parts of models with a temporal module, too.

    Returns:
        ``reference``, the name of the first row with method *frame*, or None; ``key_interval``, the longest one;
        ``rounds``; and ``rows``, by name: ``fps`` of networks and post-processing; milliseconds of ``key`` and
        ``non_key`` frames; ``speed_up``, the median over rounds, ``over`` the first row with method *frame* and the
        same speed options, in the fastest of its runtimes, or else over the reference; ``spread``, the interquartile
        range of the rounds' speed-ups, of a row that is compared with itself of its times, relative to their median;
        ``workers``; ``detections`` per frame; ``gpu_memory_mib``; and ``end_to_end``, the same with decoding. With
        ``parts``, also ``parts``, by speed options: ``parts_ms``, ``ratio`` (DFF Eq. 5), ``bound_network`` (Eq. 7) and
        ``bound_end_to_end`` at the longest key-frame interval.
    """
    names = [row.name for row in rows]
    if not rows or len(set(names)) < len(names):
        raise ValueError(f'needs rows of different names, got {names}')
    longest = max(row.point.key_interval for row in rows)
    tasks, part_tasks, labels, test_clips = {}, {}, {}, {}
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault((row.config, row.checkpoint, *row.options), []).append(row)
    for (path, checkpoint, *options), members in groups.items():
        cfg = read_model(path, cfg_options or {})
        torch.manual_seed(0)  # random weights are the same with all options
        first = next((row for row in members if row.point.uses_temporal), members[0])
        executor = load_model(cfg, checkpoint, device, first.point, None, *options[1:4])
        clips, source = partial(clips_of, video, longest + 1), str(test_datasets(cfg))
        if not video:
            if source not in test_clips:
                test_clips[source] = _clips_of_test_data(cfg, longest + 1, rounds + 1)
            clips = partial(map, Clip.images, test_clips[source])
        for row in members:
            pack = pack_with(frame_pipeline(cfg, shape, row.point.scale))
            # With short intervals, the dense detector needs no longer clips than the others.
            dense = min(longest, MOST_DENSE_FRAMES)
            length = dense if row.point.method == 'frame' else row.point.key_interval
            timer = Timer(executor, row.point, pack, length)
            tasks[row.name] = on_clips(timer.run, clips())
        if parts and executor.model.has_temporal and first.point.runtime == 'torch':
            pack = pack_with(frame_pipeline(cfg, shape))
            packed = map(partial(map, pack), clips())
            part_tasks[tuple(options)] = on_clips(partial(time_parts, executor.model), packed)
            dtype = executor.model.autocast
            precision = next(name for name, one in PRECISIONS.items() if one == dtype)
            labels[tuple(options)] = str(Acceleration(precision, *options[1:]))
    laps = take_turns({name: tasks[name] for name in names} | part_tasks, rounds, progress)
    return _summary(rows, laps, labels, longest) | dict(rounds=rounds)


def _summary(
    rows: Sequence[Row], laps: Mapping[Any, list], labels: Mapping[tuple, str], longest: int
) -> dict[str, Any]:
    """Return the figures of rows, of their laps in each round."""
    times = {
        row.name: {
            kind: np.array([getattr(lap, kind)(*_shares(row.point)) for lap in laps[row.name]])
            for kind in ('network', 'total')
        }
        for row in rows
    }
    dense: dict[tuple, str] = {}  # by the options without runtime
    firsts = [row for row in rows if row.point.method == 'frame']
    for row in sorted(firsts, key=lambda row: np.median(times[row.name]['network'])):
        dense.setdefault(row.options[:-1], row.name)
    reference = firsts[0].name if firsts else None
    report = dict(reference=reference, key_interval=longest, rows={})
    for row in rows:
        over, own = dense.get(row.options[:-1], reference), laps[row.name]
        figures, whole = (
            _speeds(times[row.name][kind], over and times[over][kind], over == row.name)
            for kind in ('network', 'total')
        )
        key = dict(key=1000 * float(np.median([lap.key for lap in own])))
        if row.point.method != 'frame':
            key['non_key'] = 1000 * float(np.median([lap.light for lap in own]))
        more = dict(over=over, workers=own[0].workers)
        report['rows'][row.name] = figures | more | key
        report['rows'][row.name] |= dict(
            end_to_end=whole | more,
            detections=float(np.mean([lap.boxes for lap in own])),
            gpu_memory_mib=max((lap.memory for lap in own if lap.memory), default=None),
        )
    for options, label in labels.items():
        alike = [lap for row in rows if row.options == options for lap in laps[row.name]]
        found = _bounds(alike, PartTimes.medians(laps[options]), longest)
        report.setdefault('parts', {})[label] = found
    return report


def _shares(point: Point) -> tuple[float, float]:
    """Return the shares of key frames and of light frames."""
    interval = point.key_interval
    lights = (interval - 1) // point.light_every if point.light_every else 0
    return 1 / interval, lights / interval


def _speeds(own: np.ndarray, dense: np.ndarray | None, itself: bool) -> dict[str, Any]:
    """Return fps, speed-up and spread of the rounds of a row and of its reference."""
    # The ratio of the reference to itself would not show how much its times vary.
    relative = own if itself or dense is None else dense / own
    low, middle, high = np.percentile(relative, (25, 50, 75))
    speed_up = None if dense is None else 1.0 if itself else float(middle)
    return dict(
        fps=float(1 / np.median(own)), speed_up=speed_up, spread=float((high - low) / middle)
    )


def _bounds(laps: Sequence[Laps], times: PartTimes, key_interval: int) -> dict[str, Any]:
    """Return r and the bounds of the speed-ups of one set of options."""
    decode, pipeline = (
        1000 * float(np.median([getattr(lap, name) for lap in laps]))
        for name in ('decode', 'prepare')
    )
    every = times.to_device + (0 if laps[0].memory is not None else decode + pipeline)
    return dict(
        parts_ms=dict(decode=decode, pipeline=pipeline) | times._asdict(),
        ratio=times.ratio,
        bound_network=times.bound(key_interval),
        bound_end_to_end=times.bound(key_interval, every, max(decode, pipeline)),
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
    """Yield the tables of a report: times of the parts, speeds, memory; only those of what was measured."""
    rows = report['rows']
    if parts := report.get('parts'):
        runs, labels = list(parts.values()), OVERHEADS | PARTS
        table = [('part times, ms', *parts)]
        for name in runs[0]['parts_ms']:
            table.append((labels[name], *(f'{run["parts_ms"][name]:.1f}' for run in runs)))
        for name, label in _BOUNDS.items():
            label = label.format(report['key_interval'])
            table.append((label, *(f'{run[name]:.3f}' for run in runs)))
        yield table
    yield _table('normalization to boxes', rows, report['reference'])
    whole = {name: row['end_to_end'] for name, row in rows.items()}
    yield _table('decoding to boxes', whole, report['reference'])
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
        table.append((name, *('-' if one is None else format(one, kind) for one, kind in values)))
    return table
