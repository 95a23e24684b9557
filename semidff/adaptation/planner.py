"""Choices of an adaptation, from what the detector computes and from times that are measured on this machine."""

import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from semidff.datasets.video_list import VideoInfo, load_videos
from semidff.engine.optimizers.bfloat16_optim_wrapper import bfloat16_pays
from semidff.inference.loading import frame_pipeline
from semidff.inference.timer import timed
from semidff.models.channels_last import to_channels_last
from semidff.models.video_detector import VideoDetector
from semidff.utils.checkpoint import detector_digest
from semidff.utils.tool_files import FileError

from .config import PAIRS_AT_ONCE, RATIOS, config_digest, detector_config, make_config
from .parts import choose_parts, first_frames
from .plan import Plan, PlanError
from .validation import check_held_back, check_scales
from .videos import hold_back, named_videos, write_list, write_step_lists

_CROP = 480, 640
_TRAINING = 0.75  # share of the time; the rest is for measurements and the validation
_REGRESSION = 0.4  # share of the iterations
_BATCHES = 5  # whose iterations are timed
_LEAST = dict(regression=200, semantic=300)  # iterations, below which no training is worth its name


def make_plan(
    detector: str,
    checkpoint: str,
    videos: Sequence[str],
    out: Path,
    minutes: float,
    key_interval: int | None = None,
    fps: float | None = None,
    device: str = 'cpu',
    progress: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Make all choices of an adaptation.

    Args:
        detector: Config file or name of an image detector.
        checkpoint: Its weights.
        videos: Video files, folders and globs.
        out: Folder of the results.
        minutes: Time of the whole adaptation.
        key_interval: Key-frame interval l; None: 10, or what ``fps`` needs.
        fps: Frames per second to reach, from decoding to boxes.
        progress: Receives a line for each thing that takes a while.

    Returns:
        The plan.

    Raises:
        ConfigError: If there is no such detector.
        CheckpointError: If the checkpoint does not fit it.
        VideoListError: If there are no readable videos, or too few frames.
        FileError: If the disk has too little space.
        PlanError: If the network predicts label maps, no split point is possible, or the detector finds nothing in the
            held-back frames.
    """
    own = detector_config(detector)
    plan = Plan(detector, checkpoint, detector_digest(checkpoint), torch.device(device).type)
    plan.config_digest, plan.fps = config_digest(own), fps
    progress('opening the videos')
    found = named_videos(videos, out)
    readable = load_videos(write_list(out / 'videos' / 'found.txt', found))
    trained, held_back, plan.portion = hold_back(readable)
    plan.held_back = [video.path for video in held_back]
    known = {video.path for video in readable}
    plan.skipped = [path for path in found if path not in known]
    plan.frames = sum(int(video.length * plan.portion) for video in trained)
    frames = first_frames(plan, own, trained)
    model = choose_parts(plan, own, frames, key_interval, fps, device, progress)
    if model.spatial.prediction != 'pred_instances':
        raise PlanError(
            f'{detector}: predicts label maps; only detectors are adapted. Networks of segmentation are trained with '
            'configs (docs/segmentation.md)'
        )
    kinds, names = step_kinds(plan), [video.path for video in trained]
    plan.steps = [
        dict(name=kind, iters=1, minutes=minutes / len(kinds), videos=names) for kind in kinds
    ]
    check_held_back(plan, own, model)
    progress('checking the input sizes of the validation')
    check_scales(plan, own, model)
    plan.interval = [1, max(2 * plan.key_interval - 1, 5)]
    _choose_data(plan, own, trained, model)
    config = make_config(own, plan, write_step_lists(plan.steps, out), device)
    progress('measuring iterations')
    plan.disk = _time_iterations(plan, config, device)
    for step, iters in zip(plan.steps, iterations(plan, minutes), strict=True):
        step['iters'] = iters
    check_space(plan, out)
    return plan


def iterations(plan: Plan, minutes: float, later: bool = False) -> list[int]:
    """Return the iterations of the steps that fit into a time, but no fewer than a minimum.

    Args:
        later: Whether there is one step, which continues the last one.
    """
    kinds = step_kinds(plan)
    shares = {1: [1.0], 2: [_REGRESSION, 1 - _REGRESSION]}[len(kinds)]
    if later:
        kinds, shares = kinds[-1:], [1.0]
    seconds, kept = 60 * minutes * _TRAINING, plan.kept_frames / plan.frames
    each = sum(plan.time_of(dict(name=k, iters=s)) for k, s in zip(kinds, shares, strict=True))
    count = seconds / (each + kept * plan.first)  # while frames are new
    if count * 2 * plan.batch_size > plan.sizes * plan.frames and not later:
        count = (seconds - plan.sizes * plan.kept_frames * plan.seconds['first']) / each
    return [
        max(_LEAST[kind], 10 * round(share * count / 10))
        for kind, share in zip(kinds, shares, strict=True)
    ]


def step_kinds(plan: Plan) -> list[str]:
    """Return the names of the first steps."""
    return ['regression', 'semantic'] if plan.semantic else ['regression']


def check_space(plan: Plan, out: Path) -> None:
    """Raise a FileError if the disk has too little space for the training."""
    written = sum(file.stat().st_size for file in (out / 'training').glob('*.pth'))
    free = shutil.disk_usage(out).free / 1e9
    if free + written / 1e9 < plan.disk:
        raise FileError(
            f'{out}: the training needs {plan.disk:.2f} GB of disk space, {free:.2f} GB are free; free some, or give '
            'another --out'
        )


def _choose_data(
    plan: Plan, own: Config, videos: Sequence[VideoInfo], model: VideoDetector
) -> None:
    """Choose crops, batch size, and the memory for kept features.

    Large frames are cropped, since a pair of them costs too much. Features are kept in memory, if two fifths of it hold
    most of them; those of large frames on a CPU only, for a GPU computes them as fast as it gets them. Decoded frames
    of all pairs that are drawn at once are kept, if an eighth does.
    """
    sizes = sorted({(video.height, video.width) for video in videos})
    inputs = sorted(set(input_sizes(own, videos)))
    pads = any(str(s['type']).endswith('Pad') for s in own.detector_dataset['pipeline'])
    large = max(h * w for h, w in inputs) > 1.1 * _CROP[0] * _CROP[1]
    if large and not pads:
        least = [min(side) for side in zip(*inputs, strict=True)]
        plan.crop = [
            max(32, min(a, b) // 32 * 32) for a, b in zip(sorted(_CROP), sorted(least), strict=True)
        ]
        if least[0] > least[1]:
            plan.crop.reverse()
    largest = max(inputs, key=np.prod)
    area = np.prod(plan.crop or largest)
    plan.batch_size = 4 if area <= 100_000 or plan.device != 'cpu' else 2
    decoded = PAIRS_AT_ONCE * 2 * 3 * max(height * width for height, width in sizes)
    share = 8 if plan.device == 'cpu' else 32  # of four data workers
    plan.cache_bytes = max(plan.cache_bytes, min(decoded, _memory() // share))
    if plan.crop and plan.device != 'cpu':
        return
    images = torch.zeros(1, 3, *largest, device=next(model.parameters()).device)
    kind = images.device.type
    with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=bfloat16_pays(kind)):
        each = sum(level.nbytes for level in model.spatial.features(images))
    if plan.crop:  # two sizes of each frame
        each *= sum(ratio**2 for ratio in RATIOS)
    needed, limit = plan.frames * each / 1e9, 0.4 * _memory() / 1e9
    if needed <= 2 * limit:
        plan.feature_cache = round(max(min(1.1 * needed, limit), 0.01), 2)
        plan.kept_frames = min(plan.frames, int(1e9 * plan.feature_cache / each))
    if plan.crop and plan.feature_cache:  # the smaller size, too, must hold a crop
        plan.crop = [
            max(32, int(min(side, RATIOS[0] * low)) // 32 * 32)
            for side, low in zip(plan.crop, least, strict=True)
        ]


def input_sizes(own: Config, videos: Sequence[VideoInfo]) -> list[tuple[int, int]]:
    """Return height and width of the detector's input for each video."""
    pipeline = frame_pipeline(own)
    sizes = {(video.height, video.width): (0, 0) for video in videos}
    for size in sizes:
        blank = dict(img=np.zeros((*size, 3), np.uint8))
        sizes[size] = tuple(pipeline(blank)['inputs'].shape[-2:])
    return [sizes[video.height, video.width] for video in videos]


def _memory(groups: Path = Path('/sys/fs/cgroup')) -> int:
    """Return the bytes of memory that are available, on the machine and within the limits of its containers.

    Args:
        groups: Where the control groups (version 1 or 2) are mounted. Their cache of files is available, too.
    """
    text = Path('/proc/meminfo').read_text()
    free = [1024 * int(re.search(r'MemAvailable:\s+(\d+)', text)[1])]
    own = Path('/proc/self/cgroup')
    paths = re.findall(r':(?:memory)?:/(.*)', own.read_text()) if own.exists() else []
    own_groups = [root / path for root in (groups, groups / 'memory') for path in ('.', *paths)]
    for place in {*own_groups, *(above for group in own_groups for above in group.parents)}:
        for limit, used in (('max', 'current'), ('limit_in_bytes', 'usage_in_bytes')):
            with suppress(OSError, ValueError):  # no such group, or no limit
                most = int((place / f'memory.{limit}').read_text())
                stat = (place / 'memory.stat').read_text()
                cache = [0, *map(int, re.findall(r'inactive_file (\d+)', stat))][-1]  # in total
                free.append(most - int((place / f'memory.{used}').read_text()) + cache)
    return max(0, min(free))


def _time_iterations(plan: Plan, config: Config, device: str) -> float:
    """Measure iterations of each step; return the gigabytes of disk space that the training needs."""
    torch.manual_seed(0)
    model = MODELS.build(config.model).to(device)
    to_channels_last(model)
    block = 64 // plan.batch_size
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)  # opens every video
    start = time.perf_counter()
    batches = list(islice(loader, block))
    plan.seconds = dict(read=(time.perf_counter() - start) / block, first=0.0)
    model.train()
    for step in config.train_cfg.steps:
        model.enter_step(step.objectives, step.trainable)
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
        laps = []
        for batch in 2 * batches[:_BATCHES]:  # of random sizes; their features are new once
            with timed(torch.device(device)) as lap:
                model.train_step(batch, wrapper)
            laps.append(lap.seconds)
        plan.seconds[step.name] = float(np.median(laps[_BATCHES:]))
        if plan.feature_cache and step.name == 'regression':
            new = max(np.mean(laps[1:_BATCHES]) - plan.seconds[step.name], 0.0)
            plan.seconds['first'] = float(new / (2 * plan.batch_size))
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    moments = 2 * sum(p.nbytes for p in model.parameters() if p.requires_grad)
    # Two checkpoints, the one that is being written, the results of the steps, and the video detector.
    return (3 * (weights + moments) + (len(plan.steps) + 1) * weights) / 1e9 + 0.2
