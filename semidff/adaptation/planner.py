"""Choices of an adaptation, from what the detector computes and from times that are measured on this machine."""

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from semidff.analysis.speed import ClipTimer, clips_of, pack_with, take_turns
from semidff.datasets.video_list import VideoInfo, load_videos
from semidff.datasets.video_readers import VideoError, open_stream
from semidff.engine.optimizers import bfloat16_pays
from semidff.inference.acceleration import Acceleration, accelerate
from semidff.inference.loading import frame_pipeline
from semidff.inference.timer import timed
from semidff.models.precision import to_channels_last
from semidff.models.spatial import SpatialModule
from semidff.models.spatial.head_family import head_family
from semidff.models.video_detector import VideoDetector
from semidff.utils.checkpoint import detector_digest
from semidff.utils.error_messages import FileError
from semidff.utils.model_building import build_detector

from .config import PAIRS_AT_ONCE, RATIOS, config_digest, detector_config, make_config, model_config
from .plan import LEAST_SPEEDUP, Candidate, Plan, PlanError
from .validation import check_clips
from .videos import hold_back, write_list

WIDTH = 1 / 8  # of FlowNetS
DOWNSAMPLING = 2, 4  # of the frames
_CLIP, _ROUNDS = 10, 3  # of the measurement of times
_INTERVALS = 5, 10, 15, 20, 30, 40
_CROP = 480, 640
_TRAINING = 0.75  # share of the time; the rest is for measurements and the validation
_REGRESSION = 0.4  # share of the iterations
_BATCHES = 5  # whose iterations are timed
_LEAST = dict(regression=200, semantic=300)  # iterations, below which no training is worth its name
_MINUTES = 60.0


def folder_plan(
    detector: str,
    checkpoint: str,
    videos: Sequence[str],
    out: Path,
    minutes: float | None = None,
    key_interval: int | None = None,
    fps: float | None = None,
    seed: int | None = None,
    device: str = 'cpu',
    progress: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Return the plan of a folder, or make one and save it.

    Arguments that are None are those of the folder's plan. As long as no training has begun, other ones make a new
    plan. After that the plan stands, videos included.

    Args:
        detector: Config file or name of an image detector.
        out: Folder of the results.
        minutes: Time of the whole adaptation; default: 60.
        key_interval: Key-frame interval l; default: 10, or what ``fps`` needs.
        fps: Frames per second to reach, from decoding to boxes.
        seed: Seed of the training; default: 0.
        progress: Receives a line for each thing that takes a while.
    """
    file, own, kind = out / 'plan.json', detector_config(detector), torch.device(device).type
    digests = detector_digest(checkpoint), config_digest(own)
    if file.exists():
        plan = Plan.load(file)
        asked = dict(minutes=minutes, key_interval=key_interval, fps=fps, seed=seed)
        other = [name for name, value in asked.items() if value not in (None, getattr(plan, name))]
        if (plan.digest, plan.config_digest) != digests:
            other.append('detector')
        begun = (out / 'last.pth').exists() or any((out / 'training').glob('*.pth'))
        if begun and other:
            raise PlanError(
                f'{out}: is the adaptation of {plan.detector} with minutes={plan.minutes:g}, '
                f'key_interval={plan.key_interval}, fps={plan.fps} and seed={plan.seed}, but '
                f'{", ".join(sorted(other))} differs; give the same, or another --out'
            )
        known = {*map(os.path.realpath, (*plan.videos, *plan.held_back, *plan.skipped))}
        if begun or (
            not other and plan.device == kind and known == {*map(os.path.realpath, videos)}
        ):
            plan.checkpoint = checkpoint  # the same file may have been moved
            plan.save(file)
            return plan
        minutes, seed = minutes or plan.minutes, plan.seed if seed is None else seed
        if fps is key_interval is None:
            fps, key_interval = plan.fps, None if plan.fps else plan.key_interval
    (out / 'detector.pth').unlink(missing_ok=True)  # of a training that stopped at its start
    plan = Plan(detector, checkpoint, digests[0], kind, digests[1], fps=fps)
    plan.minutes, plan.seed = minutes or _MINUTES, seed or 0
    _choose(plan, own, videos, out, key_interval, device, progress)
    plan.save(file)
    return plan


def _choose(
    plan: Plan,
    own: Config,
    found: Sequence[str],
    out: Path,
    key_interval: int | None,
    device: str,
    progress: Callable[[str], None],
) -> None:
    progress('opening the videos')
    readable = load_videos(write_list(out / 'videos' / 'found.txt', found))
    trained, held_back, plan.portion = hold_back(readable)
    plan.videos, plan.held_back = ([video.path for video in part] for part in (trained, held_back))
    known = {video.path for video in readable}
    plan.skipped = [path for path in found if path not in known]
    plan.frames = sum(int(video.length * plan.portion) for video in trained)
    model = _choose_networks(plan, own, _first_video(trained), key_interval, device, progress)
    kinds = ['regression', 'semantic'] if plan.semantic else ['regression']
    plan.steps = dict.fromkeys(kinds, 1)
    progress('checking the frames and the input sizes of the validation')
    check_clips(plan, own, model)
    plan.interval = [1, max(2 * plan.key_interval - 1, 5)]
    _choose_data(plan, own, trained, model)
    progress('measuring iterations')
    videos = write_list(out / 'videos' / 'train.txt', plan.videos)
    plan.disk = _time_iterations(plan, make_config(own, plan, videos, device), device)
    plan.steps = _iterations(plan)
    check_space(plan, out)


def _first_video(videos: Sequence[VideoInfo]) -> VideoInfo:
    """Return the first video that can be decoded."""
    for video in videos:
        try:
            with closing(open_stream(video.path)) as stream:
                next(iter(stream))
            return video
        except VideoError as error:
            reason = error
    raise reason


def _choose_networks(
    plan: Plan,
    own: Config,
    video: VideoInfo,
    key_interval: int | None,
    device: str,
    progress: Callable[[str], None],
) -> VideoDetector:
    """Choose split point, flow network and key-frame interval by measured times; return the video detector."""
    init_default_scope('mmdet')
    try:
        detector = build_detector(own.model)
        heads = head_family(detector)
    except (TypeError, ValueError) as error:
        raise PlanError(f'{plan.detector}: {error}') from error
    if heads.prediction != 'pred_instances':
        raise PlanError(
            f'{plan.detector}: predicts label maps; only detectors are adapted. Networks of segmentation are trained '
            'with configs (docs/segmentation.md)'
        )
    fps = plan.fps
    intervals = [key_interval] if key_interval else _INTERVALS if fps else [10]
    progress('measuring split points and flow networks')
    models = {}
    for split in heads.splits:
        for downsampling in DOWNSAMPLING:
            candidate = Candidate(split, WIDTH, downsampling)
            plan.candidates.append(candidate)
            try:
                spatial = SpatialModule(detector, dict(type=split))
                fine = min(spatial.probe_levels()[1]) < spatial.split.corrected_from
                plan.correction_width = 0 if fine else heads.splits[split]
                plan.current_width = heads.current_width if plan.correction_width else 0
                choice = dict(split=split, width=WIDTH, downsampling=downsampling)
                model = _build(replace(plan, **choice), own, device)
            except (TypeError, ValueError, NotImplementedError) as error:
                candidate.refused = str(error)
                break
            plan.flow_stride = min(plan.flow_stride, model.temporal.flow_network.stride)
            models[candidate.choice] = accelerate(model, Acceleration(channels_last=True))
    if not models:
        raise PlanError(f'{plan.detector}: {plan.candidates[0].refused}')
    plan.input_size = list(_input_sizes(own, [video])[0])
    clips = clips_of(video.path, _CLIP + 1)
    measure = partial(_time_clips, clips, pack_with(frame_pipeline(own)))
    times, plan.reading, plan.workers = measure(models)
    for plan.key_interval in intervals:
        for one in plan.candidates:
            if not one.refused:
                one.key, one.non_key = times[one.choice]
                one.fps = plan.fps_of(one.key, one.non_key)
                one.speedup = one.fps / plan.fps_of(one.key)
        chosen = best_candidate(plan.candidates, [*heads.splits], fps)
        if not fps or (chosen.fps >= fps and chosen.speedup >= LEAST_SPEEDUP):
            break
    plan.split, plan.width, plan.downsampling = chosen.choice
    temporal = models[chosen.choice].temporal
    plan.correction_width, plan.current_width = temporal.correction_width, temporal.current_width
    alone, *_ = measure({chosen.choice: models[chosen.choice]}, rounds=1, workers=1)
    plan.alone = list(alone[chosen.choice])
    return _describe(plan, own, device)


def _time_clips(
    clips: Iterator[Iterator[np.ndarray]],
    pack: Callable[[np.ndarray], dict],
    models: Mapping[tuple, VideoDetector],
    rounds: int = _ROUNDS,
    workers: int | None = None,
) -> tuple[dict[tuple, np.ndarray], float, int]:
    """Return milliseconds of a key frame and of a non-key frame, by model, those of reading, and the workers."""
    timers = {
        choice: ClipTimer(model, 'propagate', _CLIP, pack, workers=workers)
        for choice, model in models.items()
    }
    # A single key frame is too short a measurement. One frame of the detector takes as long with any split point.
    timers[None] = ClipTimer(next(iter(models.values())), 'frame', _CLIP, pack, workers=workers)
    tasks = {choice: lambda one=one: one.run(next(clips)) for choice, one in timers.items()}
    measured = take_turns(tasks, rounds)  # in turn, so that noise of the machine affects all alike
    work = {choice: [one.work.mean() for one in several] for choice, several in measured.items()}
    key = np.median(work.pop(None))
    times = {
        choice: 1000 * np.array([key, max(_CLIP * np.median(means) - key, 0.0) / (_CLIP - 1)])
        for choice, means in work.items()
    }
    laps = [one for several in measured.values() for one in several]
    return times, 1000 * float(np.median([one.reading for one in laps])), laps[0].workers


def best_candidate(
    candidates: Sequence[Candidate], splits: Sequence[str], fps: float | None
) -> Candidate:
    """Return the first candidate, in order of accuracy, that is fast enough; the fastest if none is.

    Frames at a quarter of their size are chosen where, at the same split point and key-frame interval, larger ones do
    not reach the frame rate or a speed-up of 1.3: they are preferred to later split points and to longer intervals.
    """
    possible = [one for one in candidates if not one.refused]
    for split in splits:
        for one in possible:  # larger frames first
            if one.split == split and one.speedup >= LEAST_SPEEDUP and one.fps >= (fps or 0):
                return one
    return max(possible, key=lambda one: one.speedup)


def _build(plan: Plan, own: Config, device: str, kind: str = 'VideoDetector') -> nn.Module:
    """Build the video detector with the finest flow that its levels need."""
    logger = MMLogger.get_current_instance()
    logger.setLevel(logging.WARNING)  # not a line for each loaded checkpoint
    try:
        model = MODELS.build(model_config(own, plan, kind))
    finally:
        logger.setLevel(logging.INFO)
    if plan.downsampling == 2 and min(model.temporal.feat_strides) <= 8 < plan.flow_stride:
        return _build(replace(plan, flow_stride=8), own, device, kind)
    to_channels_last(model)
    return model.to(device).eval()


def _describe(plan: Plan, own: Config, device: str) -> nn.Module:
    """Build the chosen video detector for training, and note what it propagates and what can be distilled."""
    model = _build(plan, own, device, 'SemiDFF')
    plan.family = model.spatial.heads.name
    plan.channels, plan.strides = map(list, model.spatial.probe_levels())
    plan.flow_stride = model.temporal.flow_network.stride
    try:
        model.set_trainable(['temporal', 'task_network'])
        model.without_gradient([dict(type='FeatureSemantics')])
    except (TypeError, NotImplementedError) as error:
        plan.semantic, plan.reason = False, str(error)
    return model


def _iterations(plan: Plan) -> dict[str, int]:
    """Return the iterations of the steps that fit into the plan's time, but no fewer than a minimum."""
    shares = dict.fromkeys(plan.steps, 1.0)
    if len(shares) == 2:
        shares = dict(regression=_REGRESSION, semantic=1 - _REGRESSION)
    seconds, kept = 60 * plan.minutes * _TRAINING, plan.kept_frames / plan.frames
    each = sum(plan.time_of(*share) for share in shares.items())
    count = seconds / (each + kept * plan.first)  # while frames are new
    if count * 2 * plan.batch_size > plan.sizes * plan.frames:
        count = (seconds - plan.sizes * plan.kept_frames * plan.seconds['first']) / each
    return {
        kind: max(_LEAST[kind], 10 * round(share * count / 10)) for kind, share in shares.items()
    }


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
    inputs = sorted(set(_input_sizes(own, videos)))
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


def _input_sizes(own: Config, videos: Sequence[VideoInfo]) -> list[tuple[int, int]]:
    """Return height and width of the detector's input for each video."""
    pipeline = frame_pipeline(own)
    sizes = {(video.height, video.width): (0, 0) for video in videos}
    for size in sizes:
        blank = dict(img=np.zeros((*size, 3), np.uint8))
        sizes[size] = tuple(pipeline(blank)['inputs'].shape[-2:])
    return [sizes[video.height, video.width] for video in videos]


def _memory(group: Path = Path('/sys/fs/cgroup')) -> int:
    """Return the bytes of memory that are available, on the machine and within the limit of a container.

    Args:
        group: The control group (version 2), whose cache of files is available, too.
    """
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no group, or no limit
        limit, used = (int((group / f'memory.{name}').read_text()) for name in ('max', 'current'))
        cache = re.search(r'inactive_file (\d+)', (group / 'memory.stat').read_text())
        free = max(0, min(free, limit - used + int(cache[1])))
    return free


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
    plan.threads = torch.get_num_threads()
    for step in config.train_cfg.steps:
        model.enter_step(step.objectives, step.trainable)
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
        laps = []
        for batch in 2 * batches[:_BATCHES]:  # of random sizes; their features are new once
            with timed(torch.device(device)) as lap:
                model.train_step(batch, wrapper)
            laps.append(lap.seconds)
        plan.seconds[step.name] = again = float(np.median(laps[_BATCHES:]))
        if plan.feature_cache and step.name == 'regression':
            new = max(np.mean(laps[1:_BATCHES]) - again, 0.0)
            plan.seconds['first'] = float(new / (2 * plan.batch_size))
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    moments = 2 * sum(p.nbytes for p in model.parameters() if p.requires_grad)
    # Two checkpoints, the one that is being written, the results of the steps, and the video detector.
    return (3 * (weights + moments) + (len(plan.steps) + 1) * weights) / 1e9 + 0.2
