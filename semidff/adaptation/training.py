"""Crops, memory, disk space and iterations of a training that fits into its time."""

import copy
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from semidff.datasets.video_list import load_videos
from semidff.engine.optimizers import bfloat16_pays
from semidff.inference.loading import frame_pipeline
from semidff.models.precision import to_channels_last
from semidff.models.video_detector import VideoDetector
from semidff.points.speed import timed
from semidff.utils.error_messages import FileError

from .config import PAIRS_AT_ONCE, RATIOS, is_padding
from .folder import Choices, Data
from .job import Job

LEAST = dict(regression=200, semantic=300, frames=300)
"""Iterations of the steps, and frames, below which no training is worth its name."""

SHORT = 3000
"""Iterations of all steps, below which the regression has twice the learning rate and takes half of
its share."""

_REGRESSION = 0.4  # share of the time
_FEATURES = 0.25  # share of the time, for the features of frames that recur
_RECURRING = 4  # frames of a window
_CROP = 480, 640
_CACHE_BYTES = 512 * 2**20  # of decoded frames, at least
_BATCHES = 5  # whose iterations are timed
_MEASURING = 0.25  # share of the time that is left for the second measurement


def choose_iterations(
    config: Config, choices: Choices, data: Data, device: str, seconds: float
) -> None:
    """Choose the frames and the iterations of the steps that fit into the seconds, but no fewer
    than a minimum.

    A short training learns from few frames of the videos, whose features it computes once in a
    quarter of its time; the frozen network takes most of the time of pairs of new frames. Each step
    has its share of the rest.
    """
    torch.manual_seed(0)
    model = MODELS.build(config.model).to(device)
    to_channels_last(model)
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    batches, count = iter(loader), 64 // data.batch_size  # a window of pairs is decoded once
    with timed(torch.device(device)) as reading:
        batches = list(islice(batches, count))
    model.train()
    steps, again, new = config.train_cfg.steps, {}, None
    for step in steps:
        model.set_objectives(step.objectives, step.trainable)
        wrapper, laps = build_optim_wrapper(model, config.optim_wrapper), []
        for batch in 2 * batches[:_BATCHES]:  # features that are kept are new once
            with timed(torch.device(device)) as lap:
                model.train_step(batch, wrapper)
            laps.append(lap.seconds)
        known = float(np.median(laps[_BATCHES:]))
        again[step.name] = known + reading.seconds / count
        if new is None:  # the first step's features are those of the others
            new = max(float(np.mean(laps[1:_BATCHES])) - known, 0.0)
    once, frame = 0.0, new / (2 * data.batch_size)
    if data.kept:
        once = frame * data.frames
        fit = min(frame * data.kept, max(_FEATURES * seconds, frame * LEAST['frames']))
        if once > fit:
            window = max(int(_RECURRING * once / fit), _RECURRING)
            lengths = [video.length for video in loader.dataset.datasets[0].videos]
            windows = sum(max(1, length // window) for length in lengths)
            once *= min(1.0, _RECURRING * windows / sum(lengths))
            choices.frames = dict(window=window, frames_per_window=_RECURRING)
    regression, count = _REGRESSION, (seconds - once) / float(np.mean([*again.values()]))
    if count < SHORT:
        regression /= 2
    for step in steps:
        share = regression if step.name == 'regression' else 1 - regression
        if len(steps) == 1:
            share = 1.0
        # Each iteration computes new features; or all kept ones are computed once.
        fits = share * max(seconds / (again[step.name] + new), (seconds - once) / again[step.name])
        choices.iterations[step.name] = max(int(fits), LEAST[step.name])


def check_space(folder: Path, model: VideoDetector) -> None:
    """Raise a FileError if the disk has too little space for the checkpoints of the training."""
    weights = sum(tensor.nbytes for tensor in model.state_dict().values()) / 1e9
    needed, free = 9 * weights + 0.2, shutil.disk_usage(folder).free / 1e9
    if free < needed:
        raise FileError(
            f'{folder}: the training needs {needed:.2f} GB of disk space, {free:.2f} GB are free; '
            'free some, or give another --out'
        )


def choose_data(job: Job, choices: Choices, model: VideoDetector) -> Data:
    """Choose crops, batch size, and the memory for kept features.

    Large frames are cropped, since a pair of them costs too much. Features are kept in two fifths
    of the memory, if it holds half of them, or if a training with new ones would be short; those of
    large frames on a CPU only, for a GPU computes them as fast as it gets them. Decoded frames of
    pairs drawn together stay in memory if they fit into an eighth of it.
    """
    videos = load_videos(job.folder / 'training' / 'videos.txt')
    own, device = job.own, torch.device(job.device).type
    sizes = {(video.height, video.width) for video in videos}
    pipeline = frame_pipeline(own)
    inputs = sorted({_input_size(pipeline, size) for size in sizes})
    unpadded, pads = copy.deepcopy(own), any(map(is_padding, own.detector_dataset['pipeline']))
    unpadded.detector_dataset['pipeline'] = [
        step for step in own.detector_dataset['pipeline'] if not is_padding(step)
    ]
    contents = [_input_size(frame_pipeline(unpadded), size) for size in sizes]
    large = max(h * w for h, w in inputs) > 1.1 * _CROP[0] * _CROP[1]
    crop, on_cpu = None, device == 'cpu'
    least = [min(side) for side in zip(*contents, strict=True)]
    if large and not pads:
        crop = [
            max(32, min(a, b) // 32 * 32) for a, b in zip(sorted(_CROP), sorted(least), strict=True)
        ]
        if least[0] > least[1]:
            crop.reverse()
    largest = max(inputs, key=np.prod)
    batch_size = 4 if np.prod(crop or largest) <= 100_000 or not on_cpu else 2
    decoded = PAIRS_AT_ONCE * 2 * 3 * max(height * width for height, width in sizes)
    share = 8 if on_cpu else 32  # of four data workers
    cache_bytes = max(_CACHE_BYTES, min(decoded, _memory() // share))
    frames = sum(int(video.length * choices.portion) for video in videos)
    feature_cache, kept = 0.0, 0
    if on_cpu or not crop:
        images = torch.zeros(1, 3, *largest, device=next(model.parameters()).device)
        kind = images.device.type
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=bfloat16_pays(kind)):
            model.spatial.features(images)  # the first time takes longer
            with timed(images.device) as lap:
                each = sum(level.nbytes for level in model.spatial.features(images))
        if crop:  # two sizes of each frame
            each *= sum(ratio**2 for ratio in RATIOS)
        needed, limit = frames * each / 1e9, 0.4 * _memory() / 1e9
        if needed <= 2 * limit or 2 * batch_size * lap.seconds * SHORT > training_seconds(job):
            feature_cache = round(max(min(1.1 * needed, limit), 0.01), 2)
            kept = min(frames, int(1e9 * feature_cache / each))
            if crop and not pads:  # two sizes
                frames, kept = 2 * frames, 2 * kept
            if pads:  # all but the padding
                crop = least
            elif crop:  # the smaller size, too, must hold a crop
                crop = [
                    max(32, int(min(side, RATIOS[0] * low)) // 32 * 32)
                    for side, low in zip(crop, least, strict=True)
                ]
    return Data(choices.portion, crop, batch_size, cache_bytes, frames, feature_cache, kept)


def training_seconds(job: Job) -> float:
    """Return the time of a training that would begin now; the rest is for the measurement."""
    return (1 - _MEASURING) * job.seconds_left()


def _input_size(pipeline: Callable[[dict], dict], size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the detector's input for frames of a size."""
    return tuple(pipeline(dict(img=np.zeros((*size, 3), np.uint8)))['inputs'].shape[-2:])


def _memory(group: Path = Path('/sys/fs/cgroup')) -> int:
    """Return the bytes of memory that are available, on the machine and within the limit of a
    container.

    Args:
        group: The control group (version 2), whose cache of files is available, too.
    """
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no group, or no limit
        limit, used = (int((group / f'memory.{name}').read_text()) for name in ('max', 'current'))
        cache = re.search(r'inactive_file (\d+)', (group / 'memory.stat').read_text())
        free = max(0, min(free, limit - used + int(cache[1])))
    return free
