"""Speeds of several detectors and methods relative to one another, measured interleaved in one process.

Protocol: batch 1, forward pass and post-processing, without reading, resizing and copying to the device. In each
round every row runs one clip, one row after the other, so that noise of the machine affects all rows alike. A clip is a
key frame, which is not counted, and the l frames after it, of which the last is the next key frame. A speed-up compares
clips of the same round. The first round is warm-up and is not counted. ``test_cfg.smooth_scores`` of the configs is
applied within a clip. With a ``test_cfg.schedule``, the key frames depend on the video, so only method *frame* has a
speed.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from semidff.datasets.samplers.video_sampler import frames_of_videos
from semidff.inference.frame_pipeline import frame_pipeline, load_model
from semidff.inference.methods import method_class
from semidff.utils.image_detectors import test_datasets
from semidff.utils.model_building import read_config

from .clip_timer import ClipTimer, endless_frames

MAX_DENSE_FRAMES = 10
"""Longest clip of method *frame*, whose frames all take the same time."""

SCHEDULED = 'test_cfg.schedule: the speed is not measured, since the key frames depend on the video'
"""Note of rows without a speed."""


class SpeedRow(NamedTuple):
    """A detector, its weights, and how it is run."""

    name: str
    config: str
    checkpoint: str
    method: str
    key_interval: int

    @classmethod
    def parse(cls, text: str) -> 'SpeedRow':
        """Read ``NAME=CONFIG,CHECKPOINT,METHOD,L``.

        Raises:
            ValueError: If the text has another form, L is not a positive integer, or the method is unknown.
        """
        name, _, rest = text.partition('=')
        parts = [part.strip() for part in rest.split(',')]
        if not name or len(parts) != 4 or not all(parts):
            raise ValueError(f'--row {text!r}: expected NAME=CONFIG,CHECKPOINT,METHOD,L')
        config, checkpoint, method, interval = parts
        if not interval.isdecimal() or int(interval) < 1:
            raise ValueError(
                f'--row {text!r}: the key-frame interval {interval!r} is no number >= 1'
            )
        method_class(method)  # refuses unknown methods
        return cls(name.strip(), config, checkpoint, method, int(interval))


@torch.no_grad()
def measure_speed(
    rows: Sequence[SpeedRow],
    rounds: int = 10,
    video: str | None = None,
    cfg_options: dict | None = None,
    device: str = 'cpu',
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure the speed of every row. Rows with the same config and checkpoint share one model.

    Args:
        rows: The rows, with different names.
        rounds: Number of rounds after the warm-up.
        video: A video file or a folder of frames; None: videos of each config's test data set.
        cfg_options: Settings that replace those of every config, by dotted keys.
        device: Where the models run.

    Returns:
        ``reference``, the name of the first row with method *frame*, or None; ``rounds``; and ``rows``, by name:
        ``fps`` from the median clip; ``speed_up`` over the reference, the median over rounds; ``spread``, the
        interquartile range of the rounds' speed-ups, of the reference its times, relative to their median. Without a
        reference, speed-ups are None and spreads those of times. For a row with a key-frame schedule all three are
        None, and ``note`` says so.

    Raises:
        CheckpointError: If a checkpoint cannot be read or does not fit its config.
        VideoError: If the video cannot be read.
        ValueError: If names are repeated, ``rounds`` is less than 1, or a config has no test videos.
    """
    names = [row.name for row in rows]
    if rounds < 1 or not rows or len(set(names)) < len(names):
        raise ValueError(f'needs rounds >= 1 and rows of different names, got {rounds=}, {names}')
    length = max(row.key_interval for row in rows)
    timers, clips = _prepare(rows, length, rounds, video, cfg_options or {}, device)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        frames = {source: next(iterator) for source, iterator in clips.items()}
        for row in rows:
            timer, source = timers[row.name]
            if timer is None:
                continue
            clip = timer.run_interval(frames[source])
            if number:
                seconds[row.name].append(clip.network / len(clip.seconds))
        progress(f'round {number} of {rounds}' if number else 'warm-up')
    reference = next((row.name for row in rows if row.method == 'frame'), None)
    return dict(reference=reference, rounds=rounds, rows=_figures(seconds, reference))


def _prepare(
    rows: Sequence[SpeedRow],
    length: int,
    rounds: int,
    video: str | None,
    cfg_options: dict,
    device: str,
) -> tuple[dict[str, tuple[ClipTimer | None, str]], dict[str, Iterator[list[dict]]]]:
    """Timer and source of clips of every row; sources are shared by rows with the same test data.

    The timer is None for rows with a key-frame schedule.
    """
    timers, clips = {}, {}
    for path, checkpoint in dict.fromkeys((row.config, row.checkpoint) for row in rows):
        members = [row for row in rows if (row.config, row.checkpoint) == (path, checkpoint)]
        cfg = read_config(path, cfg_options)
        methods = [row.method for row in members]
        needs_all = (method for method in methods if method_class(method).uses_temporal)
        model = load_model(cfg, checkpoint, device, next(needs_all, methods[0]))
        source = str(test_datasets(cfg))
        if source not in clips:
            clips[source] = _clips(cfg, length + 1, rounds + 1, video)
        test = cfg.get('test_cfg') or {}
        smooth = test.get('smooth_scores', 0)
        for row in members:
            dense = row.method == 'frame'
            count = min(length, MAX_DENSE_FRAMES) if dense else row.key_interval
            timer = None
            if dense or not test.get('schedule'):
                timer = ClipTimer(model, row.method, count, _pack, smooth_scores=smooth)
            timers[row.name] = timer, source
    return timers, clips


def _clips(cfg: Config, length: int, count: int, video: str | None) -> Iterator[list[dict]]:
    """Packed frames of ``count`` clips: consecutive ones of a video, or of evenly spaced videos of the test data set.

    A clip longer than its video starts over at the video's end.
    """
    if video:
        pipeline, frames = frame_pipeline(cfg), endless_frames(video)
        for _ in range(count):
            yield [pipeline(dict(img=frame)) for frame in islice(frames, length)]
        return
    if not cfg.get('test_dataloader'):
        raise ValueError(f'{cfg.filename}: no test_dataloader; give a --video')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    videos = frames_of_videos(dataset)
    if not videos:
        raise ValueError(f'{cfg.filename}: the test data set is empty; give a --video')
    for number in range(count):
        indices = videos[number * len(videos) // count]
        yield [dataset[index] for index in islice(cycle(indices), length)]


def _pack(item: dict) -> dict:
    """Make a batch of a packed frame, whose data sample other rows share."""
    return pseudo_collate([dict(item, data_samples=item['data_samples'].new())])


def _figures(seconds: dict[str, list[float]], reference: str | None) -> dict[str, dict]:
    """Speeds from seconds per frame, one number for each round."""
    figures = {}
    for name, own in seconds.items():
        if not own:
            figures[name] = dict(fps=None, speed_up=None, spread=None, note=SCHEDULED)
            continue
        # The ratio of the reference to itself would not show how much its times vary.
        relative = own if reference in (None, name) else np.divide(seconds[reference], own)
        low, middle, high = np.percentile(relative, (25, 50, 75))
        speed_up = None if reference is None else 1.0 if name == reference else float(middle)
        fps, spread = float(1 / np.median(own)), float((high - low) / middle)
        figures[name] = dict(fps=fps, speed_up=speed_up, spread=spread)
    return figures
