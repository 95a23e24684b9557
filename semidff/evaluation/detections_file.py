"""Evaluation of a detections file against a COCO-VID JSON file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from semidff.datasets.ilsvrc_format import read_detections
from semidff.utils.atomic_write import write_json

from .motion_speed import SPEEDS
from .vid_ap import Detections
from .vid_evaluator import VIDEvaluator, VIDResult


class FileEvaluation(NamedTuple):
    """Result of :func:`evaluate_detections_file`; ``summary`` is the content of the JSON file.

    Of ``num_detections`` lines, ``num_outside`` are of frames that are not in the image set; they are ignored.
    """

    result: VIDResult
    num_detections: int
    num_outside: int
    summary: dict


def evaluate_detections_file(
    ann_file: str | Path,
    detections: str | Path,
    out: str | Path,
    mean: str = 'imagenet',
    min_score: float = 0.5,
    coco: bool = False,
    classes: Sequence[str] | None = None,
) -> FileEvaluation:
    """Evaluate a file in ILSVRC's submission format and write the metrics as JSON.

    Class ``k`` of the file is the k-th of ``classes``, by default the k-th category of the annotations. Without labels,
    the annotations may be detections of ``tools/video_demo.py --json``, for example of the dense detector, as a
    reference for propagation.

    Args:
        ann_file: COCO-VID JSON file of the image set.
        detections: File with lines ``frame_id class score x1 y1 x2 y2``.
        out: JSON file to write: ``mAP``, ``AP`` (class name -> value), ``mAP_slow``, ``mAP_medium``, ``mAP_fast``,
            ``mAP_classes_with_ground_truth``, and the metrics of ``coco``; null where undefined.
        mean: How ``mAP`` treats classes without ground truth, see :func:`~semidff.evaluation.vid_ap.mean_ap`.
        min_score: Annotations with a lower ``score`` are ignored; only detections have a score.
        coco: Whether to add ``coco_AP``, ``coco_AP_50`` and ``coco_AP_75``.
        classes: The detector's class names, in order, if the annotations have some of them only.
    """
    evaluator = VIDEvaluator(str(ann_file), classes, min_score)
    table = read_detections(detections, len(classes or evaluator.classes))
    frame_ids, numbers = table[:, :2].astype(np.int64).T
    order = np.argsort(evaluator.frame_numbers)
    nearest = np.searchsorted(evaluator.frame_numbers[order], frame_ids)
    frames = order[np.minimum(nearest, len(order) - 1)]
    known = evaluator.frame_numbers[frames] == frame_ids
    inside = Detections(frames, numbers - 1, table[:, 2], table[:, 3:]).select(known)
    num_outside = len(table) - len(inside)
    result = evaluator.evaluate(inside)
    summary = {
        'mAP': _number(result.mean(mean)),
        'AP': dict(zip(result.classes, map(_number, result.ap), strict=True)),
        'mAP_classes_with_ground_truth': _number(result.mean()),
        **{f'mAP_{speed}': _number(result.mean_of_speed(speed)) for speed in SPEEDS},
    }
    if coco:
        coco_figures = evaluator.coco_ap(inside)
        summary |= {f'coco_{name}': _number(value) for name, value in coco_figures.items()}
    write_json(summary, out, indent=1)
    return FileEvaluation(result, len(table), num_outside, summary)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
