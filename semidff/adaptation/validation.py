"""Validation of an adaptation on held-back frames."""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from semidff.analysis.evaluation_clips import EvaluationClip, labeled_clips
from semidff.analysis.filter_fit import fit_filter
from semidff.analysis.operating_points import (
    OperatingPoint,
    grid_of_points,
    measure_operating_points,
    measured_methods,
)
from semidff.analysis.operating_report import plot_points, points_table
from semidff.datasets.class_names import class_names
from semidff.datasets.video_readers import VideoError, open_video
from semidff.evaluation.metrics import MIN_SCORE
from semidff.inference import VideoEngine
from semidff.inference.executors import Executor
from semidff.inference.loading import frame_pipeline
from semidff.utils.atomic_write import atomic_write, write_json
from semidff.utils.checkpoint import read_checkpoint
from semidff.utils.error_messages import FileError
from semidff.utils.logs import log_warning
from semidff.utils.tables import markdown_table

from .plan import DENSE_SCALES, SCALES, Networks, Plan, PlanError
from .videos import CLIP

ADAPTIVE_FILE = 'adaptive.json'
INTERVALS = 5, 10, 20
LIGHT_EVERY = 1, 5
_SHARE = 0.2  # of the minutes
_LEAST, _MOST = 120, 900  # frames
_LONGEST = 301  # frames of a clip


def validate(
    plan: Plan,
    model: Executor,
    detector: Executor,
    out: Path,
    labels: str | Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict:
    """Measure operating points and write ``report.json``, ``report.md`` and ``report.png`` to the folder ``out``.

    Args:
        model: The result of the training, as :func:`~semidff.inference.loading.load_model` returns it.
        detector: The same with the weights of the image detector, to which all points are compared.
        labels: COCO-VID json of videos that are evaluated in place of the held-back frames, by mAP, too.

    Returns:
        The recommended operating point, and the ``constants`` of the filter.
    """
    intervals = sorted({*INTERVALS, plan.networks.key_interval})
    scales = [scale for scale in SCALES if scale in plan.videos.scales]
    dense = [scale for scale in DENSE_SCALES if scale in plan.videos.scales]
    adaptive = out / 'validation' / ADAPTIVE_FILE
    methods = measured_methods(True, adaptive.is_file())
    points = grid_of_points(methods, intervals, scales)
    filters = None, 'causal', 'both'
    points += grid_of_points(['propagate', 'track'], intervals, [1.0], LIGHT_EVERY, filters)
    points += grid_of_points(['copy'], intervals, [1.0])  # for the gap recovery
    constants = fit_filter(detector, plan.videos.clips)
    report = measure_operating_points(
        model,
        plan.videos.clips,
        points + [OperatingPoint('frame', 1, scale) for scale in dense],
        detector=detector,
        labels=labels,
        adaptive=adaptive if adaptive.is_file() else None,
        rounds=3 if plan.minutes < 30 else 5,
        fps=plan.fps,
        constants=constants,
        progress=progress,
    )
    plot_points(report, out / 'report.png')
    note = 'Adaptive key frames could not be fitted: no training video can be read.\n\n'
    note = '' if adaptive.is_file() else note
    learned = _what_was_learned(report['points'], plan.networks.key_interval, plan.videos.portion)
    use = f'semidff-demo VIDEO {out} --out boxes.mp4\nVideoInferencer({str(out)!r})  # in Python'
    with atomic_write(out / 'report.md') as file:
        file.write(
            f'# {plan.networks.family}\n\n{points_table(report)}\n{learned}\n\n{note}```\n{use}\n```\n\n'
            f'```\n{plan.text()}\n```\n'
        )
    write_json(report, out / 'report.json', indent=2, nan_as_null=True)
    progress(learned.rpartition('\n')[2])
    progress(report['verdict'])
    recommended = {name: report['recommended'][name] for name in OperatingPoint._fields}
    return dict(
        recommended,
        runtime=plan.runtime,
        constants=dict(drift=constants.drift, fade=constants.fade),
    )


def _what_was_learned(points: Sequence[dict], key_interval: int, portion: float) -> str:
    """Compare *propagate* with *copy* and *track*, and say what the held-back frames are."""
    named = {OperatingPoint(*(one[name] for name in OperatingPoint._fields)): one for one in points}
    # Clips may be too short for the plan's interval.
    intervals = [one.key_interval for one in named if one.method == 'copy']
    key_interval = max((one for one in intervals if one <= key_interval), default=0)
    if not key_interval:
        return ''
    methods = 'frame', 'copy', 'track', 'propagate'
    rows = [named[OperatingPoint(one, key_interval).completed()]['metrics'] for one in methods]
    cells = [
        (name, *(f'{100 * one[key]:.1f}' for key in ('AP', 'AP_50')), f'{one["boxes"]:.1f}')
        for name, one in zip(methods, rows, strict=True)
    ]
    _, copied, _, learned = (one['AP'] for one in rows)
    where = 'videos that were not trained on'
    if portion < 1:
        where = 'the ends of the videos that were trained on'
    text = (
        f'Propagated boxes agree {"better" if learned > copied else "less"} with the detector than repeated ones on '
        f'{where} (AP {100 * learned:.1f} and {100 * copied:.1f}).'
    )
    if learned < copied:
        text += ' These are new to the training: train on such videos, too, or use a method without training.'
    if portion < 1:
        text += ' On other scenes they may do worse: with three videos or more, whole ones are held back.'
    table = markdown_table([('', 'AP', 'AP_50', 'boxes per frame'), *cells])
    return f'## On {where}, at l = {key_interval}\n\n{table}\n\n{text}'


def choose_clips(
    held_back: Sequence[str], portion: float, networks: Networks, minutes: float
) -> list[EvaluationClip]:
    """Choose clips of the held-back frames: as many as can be evaluated in a fifth of the minutes.

    The clips are spread evenly over the held-back videos, and begin where the training ends. They end with a key frame
    of 5, 10 and 20 frames, and of the plan's interval, where they are long enough: without the next key frame, offline
    methods do worse than in a whole video.
    """
    key, non_key = networks.alone
    methods = 3 * 3 * len(SCALES)  # propagating methods at three intervals and all scales
    cost = (2.8 * key + methods * non_key) / 1000
    frames = min(max(60 * minutes * _SHARE / cost, _LEAST), _MOST)
    every = math.lcm(INTERVALS[-1], networks.key_interval)
    every = every if every < _LONGEST else INTERVALS[-1]
    least = max(CLIP, every + 1)
    count = max(1, min(len(held_back), round(frames / least)))
    places = np.linspace(0, len(held_back) - 1, count).round().astype(int)
    length = min(max(round(frames / count), least), _LONGEST)
    clips = []
    for path in (held_back[place] for place in places):
        try:
            with closing(open_video(path)) as reader:
                total = len(reader)
        except VideoError:  # is reported where it is decoded
            clips.append(EvaluationClip(path))
            continue
        start = 0 if portion == 1 else int(total * portion)
        available = min(total - start, length)
        if available >= CLIP:
            cut = every if available > every else INTERVALS[-1]
            available = (available - 1) // cut * cut + 1
        clips.append(EvaluationClip(path, start, start + available))
    return clips


def check_clips(
    own: Config,
    model: nn.Module,
    held_back: Sequence[str],
    portion: float,
    networks: Networks,
    minutes: float,
) -> tuple[list[str], list[EvaluationClip], list[float]]:
    """Choose clips of the held-back frames and check before the training that the validation can run on them.

    All frames are decoded, and videos where this fails are left out. The detector must find objects in them. It runs at
    each input size of the validation; those at which it fails, since some networks have a least size, are left out and
    logged.

    Args:
        own: Result of :func:`~semidff.adaptation.config.detector_config`.
        model: Video detector on its device.

    Returns:
        The videos, their clips, and the input sizes.
    """
    pipeline, engine = frame_pipeline(own), VideoEngine(model, 'frame')
    images, highest, broken = {}, 0.0, ['']
    while broken and held_back:
        broken = []
        clips = choose_clips(held_back, portion, networks, minutes)
        for clip in clips:
            try:
                for image in clip.images():
                    images[image.shape] = image
                    if highest < MIN_SCORE:
                        (result,) = engine.push(pseudo_collate([pipeline(dict(img=image))]))
                        highest = max(highest, *result.pred_instances.scores.tolist(), 0.0)
            except VideoError:
                broken.append(clip.path)
        held_back = [path for path in held_back if path not in broken]
    if highest < MIN_SCORE or not held_back:
        raise PlanError(
            f'the detector finds no object with a score of at least {MIN_SCORE} in the frames that are held back '
            f'(highest score: {highest:.2f}), or they cannot be decoded; give other or more videos'
        )
    scales = []
    for scale in (*SCALES, *DENSE_SCALES):
        pipeline = frame_pipeline(own, scale=scale)
        engine = VideoEngine(model, 'propagate' if scale in SCALES else 'frame')
        try:
            for image in images.values():
                for _ in range(2):  # a key frame and another one
                    engine.push(pseudo_collate([pipeline(dict(img=image))]))
            scales.append(scale)
        except Exception as error:  # whatever the code of any detector raises
            if scale == 1:
                raise
            log_warning(
                f'input size × {scale:g} is left out of the validation, the detector fails: {error}'
            )
    return held_back, clips, scales


def check_labels(labels: str | Path, own: Config, checkpoint: str, videos: Sequence[str]) -> None:
    """Check before the training that labels fit the detector, and that their images exist and are of other videos."""
    classes = class_names(own, read_checkpoint(checkpoint)[1])
    clips, _ = labeled_clips(labels, None, classes or None)
    missing = [file for clip in clips for file in clip.files if not Path(file).is_file()]
    if missing:
        raise FileError(
            f'{labels}: {len(missing)} of its images are missing, {missing[0]} for example; the folder of the images '
            'must be that of the json or, beside it, have its name'
        )
    labeled = {os.path.realpath(os.path.dirname(file)) for clip in clips for file in clip.files}
    if shared := [video for video in videos if os.path.realpath(video) in labeled]:
        raise FileError(
            f'{labels}: {len(shared)} of the labeled videos would be trained on, {shared[0]} for example; name the '
            'other videos alone'
        )
