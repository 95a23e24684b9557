"""Comparison with methods without training on videos one by one, which a mean over all would hide."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from mmengine.registry import init_default_scope

from semidff.evaluation import Detections
from semidff.evaluation.metrics import MIN_SCORE, agreement
from semidff.inference.executors import Executor

from .evaluation_clips import EvaluationClip
from .runs import REFERENCE, OperatingPoint, detect_clip, runs_of

METHODS = 'copy', 'track', 'propagate'
COUNTED = 20
"""Fewest boxes of a class for a comparison of numbers."""


@torch.no_grad()
def compare_videos(
    model: Executor,
    detector: Executor,
    clips: Sequence[EvaluationClip],
    key_interval: int = 5,
    min_score: float = MIN_SCORE,
) -> Iterator[dict[str, Any]]:
    """Compare *copy*, *track* and *propagate* with the dense detector on each clip.

    The reference of the :func:`~semidff.evaluation.metrics.agreement` are the dense detector's boxes, filtered both
    ways; numbers of boxes are compared with those of the detector itself.

    Args:
        model: From :func:`~semidff.inference.loading.load_model`.
        detector: The same with the detector's own weights.

    Yields:
        For each clip, ``video``, the number of ``frames`` and of the detector's ``boxes`` per frame, and for each
        method, ``AP``, ``AP_50`` and ``AP_75``, ``boxes`` per frame, and ``classes``: by label, the number of boxes
        divided by the detector's, for those of at least :data:`COUNTED` boxes.
    """
    init_default_scope('mmdet')
    points = [OperatingPoint(name, key_interval).completed() for name in METHODS]
    dense = OperatingPoint('frame')
    for clip in clips:
        found: dict[OperatingPoint, Detections] = {}
        for executor, trained in ((detector.with_temporal(None), False), (model, True)):
            own = [one for one in (dense, REFERENCE, *points) if one.needs_temporal == trained]
            runs = detect_clip(executor, clip, {one: runs_of(one, None, 1) for one in own})
            found |= {run.point: run.detections() for run in chain(*runs)}
            frames = len(runs[0][0].found[0][0])
        boxes = _boxes(found[dense], min_score)
        row = dict(video=clip.path, frames=frames, boxes=boxes.sum() / frames)
        for point in points:
            own = _boxes(found[point], min_score, len(boxes))
            row[point.method] = dict(
                agreement(found[REFERENCE], found[point], frames, min_score),
                boxes=own.sum() / frames,
                classes={int(k): own[k] / boxes[k] for k in np.flatnonzero(boxes >= COUNTED)},
            )
        yield row


def _boxes(found: Detections, min_score: float, classes: int = 0) -> np.ndarray:
    """Return the number of boxes of each class."""
    return np.bincount(found.labels[found.scores >= min_score], minlength=classes)
