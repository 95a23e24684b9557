"""Choices of an adaptation, from what the detector computes and from times that are measured on this machine."""

import copy
import logging
import os
import re
import shutil
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

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

from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.speed import ClipTimer, ClipTimes, clips_of, pack_with, take_turns, timed
from semidff.datasets.video_list import VideoInfo, load_videos
from semidff.datasets.video_readers import VideoError, open_video
from semidff.engine.optimizers import bfloat16_pays
from semidff.inference.acceleration import Acceleration, accelerate
from semidff.inference.executors import Executor
from semidff.inference.loading import frame_pipeline
from semidff.models.precision import to_channels_last
from semidff.models.spatial import SpatialModule
from semidff.models.spatial.head_family import HeadFamily, head_family
from semidff.models.video_detector import VideoDetector
from semidff.utils.checkpoint import detector_digest
from semidff.utils.error_messages import FileError
from semidff.utils.model_building import build_detector

from .config import (
    PAIRS_AT_ONCE,
    RATIOS,
    config_digest,
    detector_config,
    is_padding,
    make_config,
    model_config,
)
from .plan import (
    LEAST,
    LEAST_SPEEDUP,
    SCALES,
    SHORT,
    Candidate,
    Data,
    Networks,
    Plan,
    PlanError,
    Training,
)
from .survey import Survey
from .validation import possible_scales
from .videos import write_list

WIDTH = 1 / 8  # of FlowNetS
DOWNSAMPLING = 2, 4  # of the frames
_FLOW_STRIDE = 16  # unless levels are finer
_CLIP, _ROUNDS = 10, 3  # of the measurement of times
_SECONDS = 5.0  # of a clip of the detector alone, which has fewer frames if they take longer
_INTERVALS = 5, 10, 15, 20, 30, 40
_CROP = 480, 640
_CACHE_BYTES = 512 * 2**20  # of decoded frames, at least
# Validation and schedule, in times of the survey, whose frames they have: of short adaptations and of others.
_VALIDATION = 1.3, 2.5
_REGRESSION = 0.4  # share of the iterations
_BATCHES = 5  # whose iterations are timed
_MOST = 100_000  # tens of them


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
    runtime: str | None = None,
) -> tuple[Plan | None, bool]:
    """Return the plan of a folder, and whether it is that of these arguments, which are those of ``adapt``.

    Arguments that are None are those of the plan. Once a training has begun, the plan stands, videos included, and
    other arguments are refused.
    """
    file = out / 'plan.json'
    if not file.exists():
        return None, False
    plan, kind = Plan.load(file), torch.device(device).type
    current = vars(plan) | vars(plan.networks)
    asked = dict(minutes=minutes, key_interval=key_interval, fps=fps, seed=seed, runtime=runtime)
    other = [name for name, value in asked.items() if value not in (None, current[name])]
    digests = detector_digest(checkpoint), config_digest(detector_config(detector))
    if (plan.digest, plan.config_digest) != digests:
        other.append('detector')
    begun = (out / 'last.pth').exists() or any((out / 'training').glob('*.pth'))
    if begun and other:
        raise PlanError(
            f'{out}: is the adaptation of {plan.detector} with minutes={plan.minutes:g}, '
            f'key_interval={plan.networks.key_interval}, fps={plan.fps}, seed={plan.seed} and '
            f'runtime={plan.runtime}, but '
            f'{", ".join(sorted(other))} differs; give the same, or another --out'
        )
    known = (*plan.videos.videos, *plan.videos.held_back, *plan.videos.skipped)
    same = {*map(os.path.realpath, known)} == {*map(os.path.realpath, videos)}
    if begun or (not other and plan.device == kind and same):
        plan = replace(plan, checkpoint=checkpoint)  # the same file may have been moved
        plan.save(file)
        return plan, True
    return plan, False


def make_plan(
    detector: str,
    checkpoint: str,
    found: Survey,
    out: Path,
    minutes: float,
    key_interval: int | None,
    fps: float | None,
    seed: int,
    device: str,
    runtime: str,
    spent: float,
    progress: Callable[[str], None] = lambda text: None,
) -> Plan:
    """Make the plan of a folder and save it.

    Args:
        found: What was measured without training.
        spent: Seconds of the time that has passed.
        progress: Receives a line for each thing that takes a while.
    """
    start, own, kind = time.monotonic(), detector_config(detector), torch.device(device).type
    videos = found.videos
    listed = write_list(out / 'videos' / 'train.txt', videos.videos)
    trained = load_videos(listed)
    first = _first_video(trained)
    with TemporaryDirectory() as graphs:
        accelerated = partial(
            accelerate, options=Acceleration(channels_last=True, runtime=runtime), cache=graphs
        )
        networks, model = _choose_networks(
            detector, checkpoint, own, first, key_interval, fps, device, accelerated, progress
        )
    first = [next(EvaluationClip(clip.path, files=clip.files).images()) for clip in videos.clips]
    images = [*{image.shape: image for image in first}.values()]
    possible = possible_scales(own, model, 'propagate', images, SCALES)
    scales = [scale for scale in videos.scales if scale in possible or scale not in SCALES]
    videos = replace(videos, scales=scales)
    data = _choose_data(own, trained, videos.portion, model, kind)
    # the measurement needs a config, in which the numbers of iterations do not matter
    steps = dict(regression=1, semantic=1) if networks.semantic else dict(regression=1)
    interval = [1, max(2 * networks.key_interval - 1, 5)]
    trial = Training(interval, steps, {}, torch.get_num_threads(), 0.0)
    digests = detector_digest(checkpoint), config_digest(own)
    untrained = dict(found.recommended, name=found.name, milliseconds=found.milliseconds)
    untrained |= dict(enough=found.enough, tracked=found.tracked)
    parts = videos, networks, data, trial
    plan = Plan(
        detector, checkpoint, *digests, kind, minutes, fps, seed, *parts, runtime, untrained
    )
    progress('measuring iterations')
    timed = _time_iterations(plan, make_config(own, plan, listed, device), device)
    plan = replace(plan, training=timed)
    spent += time.monotonic() - start
    validation = _VALIDATION[minutes >= SHORT] * found.seconds
    steps = _iterations(plan, 60 * minutes - spent - validation)
    plan = replace(plan, training=replace(timed, steps=steps))
    left = sum(plan.seconds_of(steps).values()) + validation
    end = time.strftime('%H:%M', time.localtime(time.time() + left))
    late = f', which is the least, after more than {minutes:g} minutes'
    progress(f'with a training, all is done at about {end}' + late * (spent + left > 66 * minutes))
    check_space(plan, out)
    plan.save(out / 'plan.json')
    return plan


def _first_video(videos: Sequence[VideoInfo]) -> VideoInfo:
    """Return the first video that can be decoded."""
    for video in videos:
        try:
            with closing(open_video(video.path)) as stream:
                next(iter(stream))
            return video
        except VideoError as error:
            reason = error
    raise reason


def build_image_detector(detector: str, own: Config) -> tuple[nn.Module, HeadFamily]:
    """Build the image detector of :func:`detector_config`, with random weights; refuse what cannot be adapted."""
    init_default_scope('mmdet')
    try:
        image_detector = build_detector(own.model)
        heads = head_family(image_detector)
    except (TypeError, ValueError) as error:
        raise PlanError(f'{detector}: {error}') from error
    if heads.prediction != 'pred_instances':
        raise PlanError(
            f'{detector}: predicts label maps; only detectors are adapted. Networks of segmentation are trained '
            'with configs (docs/segmentation.md)'
        )
    return image_detector, heads


def _choose_networks(
    detector: str,
    checkpoint: str,
    own: Config,
    video: VideoInfo,
    key_interval: int | None,
    fps: float | None,
    device: str,
    accelerated: Callable[[VideoDetector], Executor],
    progress: Callable[[str], None],
) -> tuple[Networks, VideoDetector]:
    """Choose split point, flow network and key-frame interval by measured times; build the networks for training."""
    image_detector, heads = build_image_detector(detector, own)
    intervals = [key_interval] if key_interval else _INTERVALS if fps else [10]
    progress('measuring split points and flow networks')
    build = partial(_build, own, checkpoint, device)
    models, candidates = {}, []
    for split in heads.splits:
        for downsampling in DOWNSAMPLING:
            one = Candidate(split, WIDTH, downsampling, _FLOW_STRIDE)
            try:
                spatial = SpatialModule(image_detector, dict(type=split))
                if min(spatial.probe_levels()[1]) >= spatial.split.corrected_from:
                    widths = heads.splits[split], heads.current_width
                    one = replace(one, correction_width=widths[0], current_width=widths[1])
                model = build(one)
            except (TypeError, ValueError, NotImplementedError) as error:
                candidates.append(replace(one, refused=str(error)))
                break
            candidates.append(replace(one, flow_stride=model.temporal.flow_network.stride))
            models[one.choice] = model
    if not models:
        raise PlanError(f'{detector}: {candidates[0].refused}')
    clips, pipeline = clips_of(video.path, _CLIP + 1), frame_pipeline(own)
    pack, measured = pack_with(pipeline), {}
    for interval, choice in product(intervals, models):
        if choice not in measured:
            measured[choice] = _time_clips(clips, pack, accelerated(models[choice]))
        candidates = [
            _forecast(one, *measured[one.choice][:2], interval) if one.choice in measured else one
            for one in candidates
        ]
        chosen = best_candidate(candidates, fps)
        if chosen.speedup >= LEAST_SPEEDUP and chosen.fps >= (fps or 0):
            break
    _, reading, workers = measured[chosen.choice]
    model = build(chosen, 'SemiDFF')
    channels, strides = map(list, model.spatial.probe_levels())
    semantic, reason = True, ''
    try:
        model.set_objectives([dict(type='FeatureSemantics')], ['temporal', 'task_network'])
    except (TypeError, NotImplementedError) as error:
        semantic, reason = False, str(error)
    networks = Networks(
        *chosen.choice,
        flow_stride=chosen.flow_stride,
        correction_width=chosen.correction_width,
        current_width=chosen.current_width,
        family=model.spatial.heads.name,
        channels=channels,
        strides=strides,
        semantic=semantic,
        reason=reason,
        candidates=candidates,
        key_interval=interval,
        input_size=list(_input_size(pipeline, (video.height, video.width))),
        reading=reading,
        workers=workers,
    )
    return networks, model


def _time_clips(
    clips: Iterator[Iterator[np.ndarray]],
    pack: Callable[[np.ndarray], dict],
    model: Executor,
) -> tuple[tuple[float, float], float, int]:
    """Return milliseconds of a key frame and of a non-key frame, those of reading, and the workers."""

    def measure(frames: int, rounds: int) -> tuple[list[ClipTimes], float, float]:
        lengths = dict(frame=frames, propagate=_CLIP)
        timers = {name: ClipTimer(model, name, own, pack) for name, own in lengths.items()}
        tasks = {name: lambda one=one: one.run(next(clips)) for name, one in timers.items()}
        # In turn, so that noise of the machine affects all alike.
        laps = take_turns(tasks, rounds, seconds=12 * _SECONDS)
        key, mean = (np.median([one.work.mean() for one in own]) for own in laps.values())
        return [*chain(*laps.values())], key, max(_CLIP * mean - key, 0.0) / (_CLIP - 1)

    laps, key, non_key = measure(2, 1)
    # A single key frame is too short a measurement, unless it takes seconds.
    if (frames := min(round(_SECONDS / (key * laps[0].workers)), _CLIP)) > 2:
        laps, key, non_key = measure(frames, _ROUNDS)
    times = 1000 * key, 1000 * non_key
    return times, 1000 * float(np.median([one.reading for one in laps])), laps[0].workers


def _forecast(
    candidate: Candidate, times: tuple[float, float], reading: float, key_interval: int
) -> Candidate:
    """Return a candidate with its times and, at a key-frame interval, its frame rate and its speed-up."""
    key, non_key = times
    detector, fps = (
        1000 / max((key + (key_interval - 1) * each) / key_interval, reading) for each in times
    )
    return replace(candidate, key=key, non_key=non_key, fps=fps, speedup=fps / detector)


def best_candidate(candidates: Sequence[Candidate], fps: float | None) -> Candidate:
    """Return the first one of candidates in order of accuracy that is fast enough; the fastest if none is.

    Those that were not measured are not chosen.

    Frames at a quarter of their size are chosen where, at the same split point and key-frame interval, larger ones do
    not reach the frame rate or a speed-up of 1.3: they are preferred to later split points and to longer intervals.
    """
    possible = [one for one in candidates if one.speedup]
    for one in possible:
        if one.speedup >= LEAST_SPEEDUP and one.fps >= (fps or 0):
            return one
    return max(possible, key=lambda one: one.speedup)


def _build(
    own: Config, checkpoint: str, device: str, networks: Candidate, kind: str = 'VideoDetector'
) -> VideoDetector:
    """Build the video detector with the finest flow that its levels need."""
    logger = MMLogger.get_current_instance()
    logger.setLevel(logging.WARNING)  # not a line for each loaded checkpoint
    try:
        model = MODELS.build(model_config(own, checkpoint, networks, kind))
    finally:
        logger.setLevel(logging.INFO)
    if networks.downsampling == 2 and min(model.temporal.feat_strides) <= 8 < networks.flow_stride:
        return _build(own, checkpoint, device, replace(networks, flow_stride=8), kind)
    to_channels_last(model)
    return model.to(device).eval()


def _iterations(plan: Plan, seconds: float) -> dict[str, int]:
    """Return the iterations of the steps that fit into the seconds, but no fewer than a minimum."""
    shares = dict.fromkeys(plan.training.steps, 1.0)
    if len(shares) == 2:
        shares = dict(regression=_REGRESSION, semantic=1 - _REGRESSION)
    steps = lambda tens: {  # noqa: E731
        kind: max(LEAST[kind], 10 * round(share * tens)) for kind, share in shares.items()
    }
    needed = lambda tens: sum(plan.seconds_of(steps(tens)).values())  # noqa: E731
    return steps(bisect_right(range(1, _MOST), seconds, key=needed))


def check_space(plan: Plan, out: Path) -> None:
    """Raise a FileError if the disk has too little space for the training."""
    disk = plan.training.disk
    written = sum(file.stat().st_size for file in (out / 'training').glob('*.pth'))
    free = shutil.disk_usage(out).free / 1e9
    if free + written / 1e9 < disk:
        raise FileError(
            f'{out}: the training needs {disk:.2f} GB of disk space, {free:.2f} GB are free; free some, or give '
            'another --out'
        )


def _choose_data(
    own: Config, videos: Sequence[VideoInfo], portion: float, model: VideoDetector, device: str
) -> Data:
    """Choose crops, batch size, and the memory for kept features.

    Large frames are cropped, since a pair of them costs too much. Features are kept in memory, if two fifths of it hold
    most of them; those of large frames on a CPU only, for a GPU computes them as fast as it gets them. Decoded frames
    of pairs drawn together stay in memory if they fit into an eighth of it.
    """
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
    frames, kept = sum(int(video.length * portion) for video in videos), (0.0, 0)
    if on_cpu or not crop:
        images = torch.zeros(1, 3, *largest, device=next(model.parameters()).device)
        kind = images.device.type
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=bfloat16_pays(kind)):
            each = sum(level.nbytes for level in model.spatial.features(images))
        if crop:  # two sizes of each frame
            each *= sum(ratio**2 for ratio in RATIOS)
        needed, limit = frames * each / 1e9, 0.4 * _memory() / 1e9
        if needed <= 2 * limit:
            gigabytes = round(max(min(1.1 * needed, limit), 0.01), 2)
            kept = gigabytes, min(frames, int(1e9 * gigabytes / each))
            if pads:  # all but the padding
                crop = least
            elif crop:  # the smaller size, too, must hold a crop
                crop = [
                    max(32, int(min(side, RATIOS[0] * low)) // 32 * 32)
                    for side, low in zip(crop, least, strict=True)
                ]
    return Data(frames, crop, batch_size, cache_bytes, *kept, 2 if crop and not pads else 1)


def _input_size(pipeline: Callable[[dict], dict], size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the detector's input for frames of a size."""
    return tuple(pipeline(dict(img=np.zeros((*size, 3), np.uint8)))['inputs'].shape[-2:])


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


def _time_iterations(plan: Plan, config: Config, device: str) -> Training:
    """Measure iterations of each step, and the disk space that the training needs."""
    torch.manual_seed(0)
    model = MODELS.build(config.model).to(device)
    to_channels_last(model)
    batch_size = plan.data.batch_size
    block = 64 // batch_size
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)  # opens every video
    start = time.perf_counter()
    batches = list(islice(loader, block))
    seconds = dict(read=(time.perf_counter() - start) / block, first=0.0)
    model.train()
    for step in config.train_cfg.steps:
        model.set_objectives(step.objectives, step.trainable)
        wrapper = build_optim_wrapper(model, config.optim_wrapper)
        laps = []
        for batch in 2 * batches[:_BATCHES]:  # of random sizes; their features are new once
            with timed(torch.device(device)) as lap:
                model.train_step(batch, wrapper)
            laps.append(lap.seconds)
        seconds[step.name] = again = float(np.median(laps[_BATCHES:]))
        if plan.data.feature_cache and step.name == 'regression':
            new = max(np.mean(laps[1:_BATCHES]) - again, 0.0)
            seconds['first'] = float(new / (2 * batch_size))
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    moments = 2 * sum(p.nbytes for p in model.parameters() if p.requires_grad)
    # Two checkpoints, the one that is being written, the results of the steps, and the video detector.
    disk = (3 * (weights + moments) + (len(plan.training.steps) + 1) * weights) / 1e9 + 0.2
    return replace(plan.training, seconds=seconds, disk=disk)
