"""Validation of an adaptation on held-back frames."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from torch import nn

from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.operating_points import METHODS, grid_of_points, measure_operating_points
from semidff.datasets.video_readers import open_video
from semidff.utils.atomic_write import atomic_write, write_json

from .plan import Plan

SCALES = 1.0, 0.75, 0.5
_SHARE = 0.2  # of the minutes
_LEAST, _MOST = 120, 900  # frames
_CLIP = 40, 300  # frames of a clip


def validate(
    plan: Plan,
    model: nn.Module,
    out: Path,
    labels: str | Path | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict:
    """Measure operating points and write ``report.json``, ``report.md`` and ``report.png``.

    Args:
        model: The result of the training, as :func:`~semidff.inference.frame_pipeline.load_model` returns it.
        out: Folder of the results. Detections are kept in ``validation``, so that an interrupted validation continues.
        labels: COCO-VID json, for mAP; None: agreement with the dense detector.

    Returns:
        Method, key-frame interval and scale of the recommended operating point.

    Raises:
        ValueError: If the labels do not fit the detector.
        VideoError: If a video cannot be read.
    """
    adaptive = out / 'adaptive.json'
    methods = [name for name in METHODS if name != 'adaptive' or adaptive.exists()]
    intervals = sorted({5, 10, 20, plan.key_interval})
    report = measure_operating_points(
        model,
        held_back_clips(plan),
        grid_of_points(methods, intervals, SCALES),
        labels=labels,
        images=None if labels is None else image_folder(Path(labels)),
        adaptive=adaptive if adaptive.exists() else None,
        rounds=3 if plan.minutes < 30 else 5,
        max_frames=_CLIP[1],
        folder=out / 'validation',
        progress=progress,
    )
    report.plot(out / 'report.png')
    with atomic_write(out / 'report.md') as file:
        file.write(f'# {plan.family}\n\n{report.markdown()}\n```\n{plan.text()}\n```\n')
    write_json(report.to_dict(), out / 'report.json', indent=2, nan_as_null=True)
    progress(report.verdict())
    return report.recommended.point._asdict()


def held_back_clips(plan: Plan) -> list[EvaluationClip]:
    """Return clips of the held-back frames: as many as can be evaluated in a fifth of the plan's minutes.

    The clips are spread evenly over the held-back videos, and begin where the training ends.
    """
    one = plan.chosen
    methods = 3 * 3 * len(SCALES)  # propagating methods at three intervals and all scales
    cost = (2 * one.key + methods * one.non_key + 2 * plan.overhead) / 1000
    frames = min(max(60 * plan.minutes * _SHARE / cost, _LEAST), _MOST)
    count = max(1, min(len(plan.held_back), round(frames / _CLIP[0])))
    chosen = plan.held_back[:: max(1, len(plan.held_back) // count)][:count]
    length = min(max(round(frames / count), _CLIP[0]), _CLIP[1])
    clips = []
    for path in chosen:
        with closing(open_video(path)) as reader:
            total = len(reader)
        start = 0 if plan.portion == 1 else int(total * plan.portion)
        clips.append(EvaluationClip(path, start, min(total, start + length)))
    return clips


def image_folder(labels: Path) -> Path:
    """Return the folder that the file names of a json refer to: its own, or one beside it with its name."""
    with open(labels) as file:
        images = json.load(file).get('images') or [dict(file_name='')]
    beside = labels.with_suffix('')
    return beside if (beside / images[0]['file_name']).is_file() else labels.parent
