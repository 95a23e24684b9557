"""Validation of an adaptation on held-back frames."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from semidff.analysis.evaluation_clips import EvaluationClip, labeled_clips
from semidff.analysis.operating_points import (
    UNTRAINED,
    grid_of_points,
    measure_operating_points,
    measured_methods,
)
from semidff.analysis.operating_report import (
    plot_points,
    points_table,
)
from semidff.analysis.runs import ADAPTIVE, OperatingPoint, Run
from semidff.datasets.class_names import class_names
from semidff.datasets.vid_json import check_frames_between
from semidff.datasets.video_readers import VideoError, open_video
from semidff.evaluation.metrics import MIN_SCORE
from semidff.inference import Point, VideoEngine
from semidff.inference.executors import Executor
from semidff.inference.loading import frame_pipeline
from semidff.utils.atomic_write import atomic_write, write_json
from semidff.utils.checkpoint import read_checkpoint
from semidff.utils.error_messages import FileError
from semidff.utils.logs import log_warning
from semidff.utils.tables import markdown_table

from .plan import DENSE_SCALES, LIGHT_EVERY, SCALES, SHORT, Plan, PlanError
from .videos import CLIP

ADAPTIVE_FILE = 'adaptive.json'
INTERVALS = 2, 3, 5, 10, 20
_CUTS = 60, 20  # multiples of nearly all intervals
_LONGEST, _PART = 301, 121  # frames of a clip, and of the parts of a single one, at least


def validate(
    plan: Plan,
    model: Executor,
    detector: Executor,
    out: Path,
    labels: str | Path | None = None,
    live_rate: float | None = None,
    runs: dict[OperatingPoint, list[Run]] | None = None,
    teacher: Executor | None = None,
    details: str = '',
    progress: Callable[[str], None] = lambda text: None,
) -> dict:
    """Measure operating points and write ``report.json``, ``report.md`` and ``report.png`` to the folder ``out``.

    Args:
        model: The result of the training, as :func:`~semidff.inference.loading.load_model` returns it.
        detector: The same with the weights of the image detector, to which all points are compared.
        labels: COCO-VID json of videos that are evaluated in place of the held-back frames, by mAP, too.
        live_rate: See :func:`~semidff.apis.adapt`.
        runs: Those of the survey.
        teacher, details: As of :func:`~semidff.adaptation.survey.survey`.

    Returns:
        What is recommended, see :func:`recommendation`.
    """
    intervals = sorted({5, 10, 20, plan.networks.key_interval})
    # Of each input size, graphs are exported for all runtimes.
    sizes = SCALES if plan.minutes >= SHORT else SCALES[:1]
    scales = [scale for scale in sizes if scale in plan.videos.scales]
    adaptive = out / 'validation' / ADAPTIVE_FILE
    trained = measured_methods(True, adaptive.is_file())
    trained = [name for name in trained if name not in UNTRAINED]
    points = [
        one
        for one in grid_of_points(trained, intervals, scales)
        if one.method != ADAPTIVE or one.scale == 1
    ]
    filters = None, 'causal', 'both'
    points += grid_of_points(['propagate'], intervals, [1.0], LIGHT_EVERY, filters)
    points += grid_of_points(['copy', 'track'], [plan.networks.key_interval], [1.0])
    report = measure_operating_points(
        model,
        plan.videos.clips,
        [*untrained_points(plan.videos.scales), *points],
        detector=detector,
        teacher=teacher,
        labels=labels,
        live_rate=live_rate,
        adaptive=adaptive if adaptive.is_file() else None,
        rounds=5 if plan.minutes >= SHORT else 3,
        fps=plan.fps,
        runs=runs,
        progress=progress,
    )
    note = 'Adaptive key frames could not be fitted: no training video can be read.\n\n'
    note = '' if adaptive.is_file() else note
    learned = _what_was_learned(report['points'], plan.networks.key_interval, plan.videos.portion)
    details = f'{learned}\n\n{details}{note}```\n{plan.text()}\n```\n'
    write_report(out, report, plan.networks.family, details)
    progress(learned.rpartition('\n')[2])
    progress(report['verdict'])
    return recommendation(report, plan.runtime)


def untrained_points(scales: Sequence[float]) -> list[OperatingPoint]:
    """Return the operating points of the methods without training, at those of the input sizes that are possible."""
    dense = [scale for scale in (*SCALES, *DENSE_SCALES) if scale in scales]
    others = [scale for scale in SCALES if scale in scales]
    moved, small = ('track', 'interpolate'), ['small'] * (0.5 in scales)
    return [
        *grid_of_points([], [1], dense, filters=(None, 'causal')),
        *grid_of_points(moved, INTERVALS, others),
        *grid_of_points(moved, INTERVALS, [1.0], filters=['both']),
        *grid_of_points(small, INTERVALS, [1.0], LIGHT_EVERY, ['causal', 'both']),
        *grid_of_points(['copy'], INTERVALS, [1.0]),
    ]


def recommendation(report: dict, runtime: str) -> dict:
    """Return what the folder's config recommends: the operating point, and ``runtime``."""
    point = {name: report['recommended'][name] for name in OperatingPoint._fields}
    return dict(point, runtime=runtime)


def write_report(out: Path, report: dict, title: str, details: str = '') -> None:
    """Write ``report.json``, ``report.md``, which begins with what the folder runs, and ``report.png``."""
    plot_points(report, out / 'report.png')
    recommended = {
        n: value for n, value in report['recommended'].items() if n in OperatingPoint._fields
    }
    runs = Point(**recommended, runtime=report['settings'].get('runtime') or 'torch')
    use = f'semidff-demo VIDEO {out} --out boxes.mp4\nVideoInferencer({str(out)!r})  # in Python'
    live = report['recommended_causal']
    if live != report['recommended'] and live['scale'] == 1:
        use += f'\nsemidff-demo CAMERA {out} --method {live["method"]} --key-interval {live["key_interval"]}'
        use += f' --light-every {live["light_every"]}' * (live['light_every'] > 1)
        use += f' --filter {live["filter"]}' * (live['filter'] is not None)
    with atomic_write(out / 'report.md') as file:
        file.write(
            f'# {title}\n\nThis folder runs {runs}:\n\n```\n{use}\n```\n\n'
            f'{points_table(report)}\n{details}'
        )
    write_json(report, out / 'report.json', indent=2, nan_as_null=True)


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


def choose_clips(held_back: Sequence[str], portion: float, frames: int) -> list[EvaluationClip]:
    """Choose clips of the held-back frames, about ``frames`` in all.

    The clips are spread evenly over the held-back videos, and begin where the training ends. They end with a key frame
    of nearly all intervals, where they are long enough: without the next key frame, offline methods do worse than in a
    whole video. A single long video has two.
    """
    count = max(1, min(len(held_back), round(frames / CLIP)))
    places = np.linspace(0, len(held_back) - 1, count).round().astype(int)
    length = min(max(round(frames / count), CLIP), _LONGEST)
    clips = []
    for path in (held_back[place] for place in places):
        try:
            with closing(open_video(path)) as reader:
                total = len(reader)
        except VideoError:  # is reported where it is decoded
            clips.append(EvaluationClip(path))
            continue
        first = 0 if portion == 1 else int(total * portion)
        # Clips are processed at once.
        parts = 2 if count == 1 and min(length, total - first) >= 2 * _PART else 1
        for part in range(parts):
            start = first + (total - first) * part // parts
            available = min((total - first) // parts, length // parts)
            if available >= CLIP:
                cut = next(cut for cut in _CUTS if available > cut)
                available = (available - 1) // cut * cut + 1
            clips.append(EvaluationClip(path, start, start + available))
    return clips


def check_clips(
    own: Config, detector: Executor, held_back: Sequence[str], portion: float, frames: int
) -> tuple[list[str], list[EvaluationClip], list[float]]:
    """Choose clips of the held-back frames on which everything can be measured.

    All frames are decoded, and videos where this fails are left out. The detector must find objects in them. Input
    sizes at which it fails are left out.

    Args:
        own: Result of :func:`~semidff.adaptation.config.detector_config`.

    Returns:
        The videos, their clips, and the input sizes.
    """
    pipeline, engine = frame_pipeline(own), VideoEngine(detector, 'frame')
    images, highest, broken = {}, 0.0, ['']
    while broken and held_back:
        broken = []
        clips = choose_clips(held_back, portion, frames)
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
    scales = (*SCALES, *DENSE_SCALES)
    return held_back, clips, possible_scales(own, detector, 'frame', [*images.values()], scales)


def possible_scales(
    own: Config,
    model: Executor,
    method: str,
    images: Sequence[np.ndarray],
    scales: Sequence[float],
) -> list[float]:
    """Return the input sizes at which a method runs; some networks have a least size. Others are logged."""
    possible = []
    for scale in scales:
        pipeline, engine = frame_pipeline(own, scale=scale), VideoEngine(model, method)
        try:
            for image in images:
                for _ in range(2):  # a key frame and another one
                    engine.push(pseudo_collate([pipeline(dict(img=image))]))
            possible.append(scale)
        except Exception as error:  # whatever the code of any detector raises
            if scale == 1:
                raise
            log_warning(
                f'input size × {scale:g} is left out of the validation, the detector fails: {error}'
            )
    return possible


def check_labels(labels: str | Path, own: Config, checkpoint: str, videos: Sequence[str]) -> None:
    """Check before the training that labels fit the detector, and that their images exist and are of other videos."""
    classes = class_names(own, read_checkpoint(checkpoint)[1])
    clips, _ = labeled_clips(labels, None, classes or None)
    lengths = (len(clip.files) for clip in clips)
    check_frames_between(lengths, str(labels), 'a key-frame interval above 1')
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
