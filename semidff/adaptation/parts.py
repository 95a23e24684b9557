"""Choice of split point and flow network, by times that are measured on this machine."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from semidff.analysis.speed import PartTimes, batch_of, take_turns, time_parts
from semidff.datasets.video_list import VideoInfo
from semidff.datasets.video_readers import VideoError, open_stream, open_video
from semidff.inference.loading import frame_pipeline
from semidff.models.channels_last import to_channels_last
from semidff.models.spatial.head_family import head_family
from semidff.models.spatial.output_split import correction_width
from semidff.models.video_detector import VideoDetector

from .config import model_config
from .plan import LEAST_SPEEDUP, Candidate, Plan, PlanError

WIDTH = 1 / 8  # of FlowNetS
DOWNSAMPLING = 2, 4  # of the frames
_ROUNDS = 4  # of the measurement of times
_INTERVALS = 5, 10, 15, 20, 30, 40


def first_frames(plan: Plan, own: Config, videos: Sequence[VideoInfo]) -> list[np.ndarray]:
    """Return two inputs of the network, (H, W, 3) uint8, and measure the time of a frame outside the networks.

    They are from the first video whose middle can be decoded.

    Raises:
        VideoError: If there is none.
    """
    init_default_scope('mmdet')
    pipeline = frame_pipeline(own)

    def prepare(image: np.ndarray) -> torch.Tensor:
        return pipeline(dict(img=image))['inputs']

    for video in videos:
        try:
            with closing(open_video(video.path)) as reader:
                images = reader.frames([video.length // 2 - 1, video.length // 2])
            break
        except VideoError as error:
            reason = error
    else:
        raise reason
    inputs = [np.ascontiguousarray(prepare(image).permute(1, 2, 0).byte()) for image in images]
    plan.input_size = list(inputs[0].shape[:2])
    laps = []
    with closing(open_stream(video.path)) as stream:
        start = time.perf_counter()
        for frame in islice(stream, 12):
            prepare(frame.image)
            laps.append(time.perf_counter() - start)
            start = time.perf_counter()
    plan.overhead = 1000 * float(np.median(laps))
    return inputs


def choose_parts(
    plan: Plan,
    own: Config,
    frames: list[np.ndarray],
    key_interval: int | None,
    fps: float | None,
    device: str,
    progress: Callable[[str], None],
) -> VideoDetector:
    """Choose split point, flow network and key-frame interval by measured times; return the video detector."""
    two_stage = 'roi_head' in own.model
    splits = ['ExtractFeatSplit', 'OutputSplit'] if two_stage else [
        'TowerSplit', 'OutputSplit', 'ExtractFeatSplit'
    ]  # fmt: skip
    intervals = [key_interval] if key_interval else _INTERVALS if fps else [10]
    progress('measuring split points and flow networks')
    models = {}
    for split in splits:
        plan.correction_width = correction_width(two_stage) if split == 'OutputSplit' else 0
        for downsampling in DOWNSAMPLING:
            candidate = Candidate(split, WIDTH, downsampling)
            plan.candidates.append(candidate)
            try:
                model = _build(
                    replace(plan, split=split, width=WIDTH, downsampling=downsampling), own, device
                )
            except (TypeError, ValueError, NotImplementedError) as error:
                candidate.refused = str(error)
                break
            plan.flow_stride = min(plan.flow_stride, model.temporal.flow_network.stride)
            models[candidate.parts] = model
    parts = _part_times(models, frames)
    if not parts:
        raise PlanError(f'{plan.detector}: {plan.candidates[0].refused}')
    for plan.key_interval in intervals:
        for one in plan.candidates:
            if not one.refused:
                times = parts[one.parts]
                one.key, one.non_key = times.key, times.non_key
                one.speedup = times.bound(plan.key_interval, plan.overhead)
                one.fps = 1000 * one.speedup / (plan.overhead + times.key)
        chosen = _best(plan.candidates, splits, fps)
        if not fps or (chosen.fps >= fps and chosen.speedup >= LEAST_SPEEDUP):
            break
    plan.split, plan.width, plan.downsampling = chosen.parts
    plan.correction_width = models[chosen.parts].temporal.correction_width
    return _describe(plan, own, device)


def _part_times(models: dict, frames: list[np.ndarray]) -> dict:
    """Measure the parts of several video detectors in turn, so that noise of the machine affects all alike."""
    batches = [batch_of(frame) for frame in frames]
    tasks = {key: partial(time_parts, model, batches) for key, model in models.items()}
    return {key: PartTimes.medians(laps) for key, laps in take_turns(tasks, _ROUNDS).items()}


def _best(candidates: Sequence[Candidate], splits: Sequence[str], fps: float | None) -> Candidate:
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
    plan.family = head_family(model.spatial.detector).name
    plan.channels, plan.strides = map(list, model.spatial.probe_levels())
    plan.flow_stride = model.temporal.flow_network.stride
    try:
        model.set_trainable(['temporal', 'task_network'])
        model.without_gradient([dict(type='FeatureSemantics')])
    except (TypeError, NotImplementedError) as error:
        plan.semantic, plan.reason = False, str(error)
    return model
