"""Evaluation of a detections file against a COCO-VID json."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semidff.datasets.ilsvrc_format import DetectionTable, read_detections
from semidff.utils.atomic_write import write_json

from .motion_speed import SPEEDS
from .vid_ap import Detections
from .vid_evaluator import VIDEvaluator, VIDResult


@dataclass(frozen=True)
class FileEvaluation:
    """Result of :func:`evaluate_detections_file`.

    Attributes:
        result: The figures.
        num_detections: Lines of the file.
        num_outside: Lines whose frame is not in the image set; they do not count.
        summary: What was written to the json file.
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
) -> FileEvaluation:
    """Evaluates a file in ILSVRC's submission format and writes the figures as json.

    Class ``k`` of the file is the k-th category of the json. The json may be one of detections, as
    ``tools/video_demo.py --json`` writes it: those of the full detector on every frame, say, by which propagation is
    judged where nothing is labeled.

    Args:
        ann_file: COCO-VID json of the image set.
        detections: File with lines ``frame_id class score x1 y1 x2 y2``.
        out: Json file to write: ``mAP``, ``AP`` (class name -> value), ``mAP_slow``,
            ``mAP_medium``, ``mAP_fast``, ``mAP_classes_with_ground_truth``, and those of ``coco``; null where
            undefined.
        mean: How ``mAP`` treats classes without ground truth, see
            :func:`~semidff.evaluation.vid_ap.mean_ap`.
        min_score: Boxes of the json with a lower ``score`` are no reference; only detections have one.
        coco: Whether there are also ``coco_AP``, ``coco_AP_50`` and ``coco_AP_75``, see
            :func:`~semidff.evaluation.coco_ap.coco_ap`.

    Returns:
        The figures and what was read.

    Raises:
        FileNotFoundError: An input is missing.
        ValueError: An input is broken, or no box of the json counts. Nothing is written then.
    """
    evaluator = VIDEvaluator(str(ann_file), min_score=min_score)
    table = read_detections(detections, len(evaluator.classes))
    inside = _locate(table, evaluator.frame_numbers)
    result = evaluator.evaluate(inside)
    summary = {
        'mAP': _number(result.mean(mean)),
        'AP': dict(zip(result.classes, map(_number, result.ap), strict=True)),
        'mAP_classes_with_ground_truth': _number(result.mean()),
        **{f'mAP_{speed}': _number(result.mean_of_speed(speed)) for speed in SPEEDS},
    }
    if coco:
        figures = evaluator.coco_ap(inside)
        summary.update({f'coco_{name}': _number(value) for name, value in figures.items()})
    write_json(summary, out, indent=1)
    return FileEvaluation(result, len(table), len(table) - len(inside), summary)


def _locate(table: DetectionTable, frame_numbers: np.ndarray) -> Detections:
    """The detections in the image set, with frames as positions in the evaluation order."""
    order = np.argsort(frame_numbers)
    place = np.searchsorted(frame_numbers[order], table.frame_ids)
    frames = order[np.minimum(place, len(order) - 1)]
    inside = frame_numbers[frames] == table.frame_ids
    return Detections(
        frames[inside], table.classes[inside] - 1, table.scores[inside], table.boxes[inside]
    )


def _number(value: float) -> float | None:
    """A json number; None for NaN."""
    return None if math.isnan(value) else float(value)
