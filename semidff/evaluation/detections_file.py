"""Evaluation of a detections file against a COCO-VID JSON file."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from semidff.datasets.ilsvrc_format import read_detections
from semidff.utils.atomic_write import write_json
from semidff.utils.command_line import Input, Output

from .motion_speed import SPEEDS
from .vid_ap import Detections
from .vid_evaluator import VIDEvaluator, VIDResult
from .vid_metric import result_table


class FileEvaluation(NamedTuple):
    """Result of :func:`evaluate_detections_file`; ``summary`` is the content of the JSON file.

    Of ``num_detections`` lines, ``num_outside`` are of frames that are not in the image set; they are ignored.
    """

    result: VIDResult
    num_detections: int
    num_outside: int
    summary: dict

    def __str__(self) -> str:
        values = {key: math.nan if v is None else v for key, v in self.summary.items()}
        lines = [
            result_table(self.result, values),
            f'mAP over the classes with ground truth: {100 * self.result.mean():.2f}',
        ]
        prefix = 'coco_'
        if coco := {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}:
            figures = (f'{name} {100 * value:.2f}' for name, value in coco.items())
            lines.append("COCO's " + ', '.join(figures))
        outside = f'{self.num_outside} of them outside the image set'
        return '\n'.join([*lines, f'{self.num_detections} detections, {outside}'])


def evaluate_detections_file(
    ann_file: Input,
    detections: Input,
    out: Output,
    mean: Literal['imagenet', 'present'] = 'imagenet',
    min_score: float = 0.5,
    coco: bool = False,
    classes: Sequence[str] | None = None,
) -> FileEvaluation:
    """Evaluate a file of detections in ILSVRC's submission format with the ImageNet VID metric.

    Args:
        ann_file: COCO-VID JSON file of the image set; without labels, detections of ``video_demo.py --method frame
            --json`` as a reference.
        detections: File with lines ``frame_id class score x1 y1 x2 y2``; class k is the k-th of ``--classes``, frame_id
            is its ilsvrc_id, or 1, 2, 3, ... where it has none.
        out: JSON file: ``mAP``, ``AP`` (class name -> value), ``mAP_slow``, ``mAP_medium``, ``mAP_fast``,
            ``mAP_classes_with_ground_truth``, and the metrics of ``--coco``; null where undefined.
        mean: mAP is the mean over all classes, undefined if a class without ground truth was detected (imagenet), or
            over the classes with ground truth (present).
        min_score: Ignore annotations with lower scores, where the reference is a file of detections.
        coco: Also compute COCO's AP over IoU 0.5 to 0.95: ``coco_AP``, ``coco_AP_50`` and ``coco_AP_75``.
        classes: Class names of the detector, in order; ``--ann-file`` may have some of them only (default: the
            categories of ``--ann-file``).
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
