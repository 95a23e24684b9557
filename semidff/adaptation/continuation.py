"""The plan of a folder: a new one, or that of an earlier call, with a further step for further videos or minutes."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from semidff.datasets.video_list import VideoListError, load_videos
from semidff.utils.checkpoint import detector_digest
from semidff.utils.logs import log_warning

from .config import RATIOS, config_digest, detector_config
from .plan import Plan, PlanError
from .planner import input_sizes, iterations, make_plan, step_kinds
from .validation import readable_clips
from .videos import named_videos, write_list

MINUTES = 60


def folder_plan(
    detector: str,
    checkpoint: str,
    videos: list[str],
    out: Path,
    minutes: float | None,
    key_interval: int | None,
    fps: float | None,
    device: str,
    progress: Callable[[str], None],
) -> Plan:
    """Return the folder's plan, with a further step for further videos or minutes, or make one.

    A new plan is saved. As long as nothing has been trained by a plan, other settings make a new one. The arguments are
    those of :func:`~semidff.apis.adapt.adapt` and :func:`~semidff.adaptation.planner.make_plan`.

    Raises:
        PlanError: If a training has begun with another detector, checkpoint or other settings.
    """
    file = out / 'plan.json'
    if file.exists():
        plan = Plan.load(file)
        begun = is_begun(out)
        other = (plan.detector, plan.digest) != (detector, detector_digest(checkpoint))
        other |= plan.config_digest not in ('', config_digest(detector_config(detector)))
        if other and begun:
            raise PlanError(
                f'{out}: is the adaptation of {plan.detector} with {plan.checkpoint}, as they were then; give the '
                'same, or another --out'
            )
        plan.checkpoint = checkpoint  # the same file may have been moved
        settings = fps not in (None, plan.fps) or key_interval not in (None, plan.key_interval)
        if settings and begun:
            raise PlanError(
                f'{file}: is for key_interval={plan.key_interval} and fps={plan.fps}, which a continuation does not '
                'change; give the same, or another --out'
            )
        minutes = minutes or plan.minutes
        other |= settings or not plan.named.issubset(
            map(os.path.realpath, named_videos(videos, out))
        )
        other |= plan.device != torch.device(device).type
        fewer, extended = plan.minutes - minutes > 1e-6, extend(plan, videos, out, minutes)
        if begun or not (other or fewer or extended):
            if extended:
                readable_clips(plan)  # other ones than those that were checked with the plan
            progress(f'continuing the plan of this folder, made for {plan.minutes:g} minutes')
            return plan
        if fps is key_interval is None:
            fps, key_interval = plan.fps, None if plan.fps else plan.key_interval
        # of a training that stopped before its first checkpoint
        for name in ('config.py', 'detector.pth'):
            (out / name).unlink(missing_ok=True)
    asked = minutes or MINUTES, key_interval, fps
    plan = make_plan(detector, checkpoint, videos, out, *asked, device, progress)
    plan.save(file)
    return plan


def is_begun(out: Path) -> bool:
    """Return whether a training has begun in a folder."""
    return any((out / 'training').glob('*.pth')) or (out / 'last.pth').exists()


def all_videos(videos: Sequence[str], out: Path) -> list[str]:
    """Return the videos that are named, and those of a training that has begun in the folder."""
    begun = Plan.load(out / 'plan.json').videos if is_begun(out) else []
    return [*named_videos(videos, out), *begun]


def extend(plan: Plan, videos: Sequence[str], out: Path, minutes: float) -> bool:
    """Add a step to a plan if there are new videos or more minutes; nothing else is chosen again.

    New videos without more minutes get a share of the minutes that corresponds to their share of the frames.

    Args:
        minutes: Minutes of the adaptation from its beginning.

    Returns:
        Whether a step was added.
    """
    # Videos that could not be read before may be complete now.
    new = [path for path in named_videos(videos, out) if os.path.realpath(path) not in plan.used]
    try:
        readable = load_videos(write_list(out / 'videos' / 'new.txt', new)) if new else []
    except VideoListError as error:  # none of the new ones
        log_warning(str(error))
        readable = []
    if plan.crop and plan.feature_cache and is_begun(out):
        sizes = input_sizes(detector_config(plan.detector), readable)
        fitting = {
            video.path
            for video, size in zip(readable, sizes, strict=True)
            if all(RATIOS[0] * a >= b for a, b in zip(size, plan.crop, strict=True))
        }
        if small := [video.path for video in readable if video.path not in fitting]:
            log_warning(
                f'{len(small)} videos are skipped, since the crops of this training ({plan.crop[0]}x{plan.crop[1]}) '
                f'do not fit into their frames: {small[:10]}; give another --out for all videos'
            )
        readable = [video for video in readable if video.path in fitting]
    names = [video.path for video in readable]
    tried = set(map(os.path.realpath, new))
    plan.skipped = [path for path in plan.skipped if os.path.realpath(path) not in tried]
    plan.skipped += [path for path in new if path not in names]
    added = sum(int(video.length * plan.portion) for video in readable)
    plan.frames += added
    more = round(minutes - plan.minutes, 6)  # of sums, whose rounding errors are no further minutes
    if more <= 0:
        more = plan.minutes * added / plan.frames
    if not more:
        return False
    kind = step_kinds(plan)[-1]
    (iters,) = iterations(plan, more, later=True)
    plan.steps.append(
        dict(
            name=f'{kind}_{len(plan.steps) + 1}',
            iters=iters,
            minutes=more,
            videos=plan.videos + names,
        )
    )
    if (out / 'last.pth').exists():  # as large as the result of the further step
        plan.disk += (out / 'last.pth').stat().st_size / 1e9
    return True
