"""COCO's average precision over IoU 0.5 to 0.95, which measures localization."""

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .vid_ap import Detections, GroundTruth

FIGURES = ('AP', 'AP_50', 'AP_75')
"""Mean over IoU 0.5 to 0.95, at 0.5 and at 0.75: the first of ``COCOeval.stats``."""


def coco_ap(
    truth: GroundTruth,
    detections: Detections,
    num_frames: int,
    num_classes: int,
    crowd: np.ndarray | None = None,
) -> dict[str, float]:
    """Compute ``AP``, ``AP_50`` and ``AP_75`` in 0..1 with pycocotools, means over the classes with ground truth.

    Only the 100 best detections of a class in a frame are counted. The metrics are NaN without ground truth that is no
    crowd.

    Args:
        crowd: (m,) bool, which boxes of the ground truth are crowds: they need not be found, and detections that lie in
            them and match no other box are not counted. None: none is.
    """
    crowd = np.zeros(len(truth.boxes), bool) if crowd is None else crowd
    if crowd.all():
        return dict.fromkeys(FIGURES, float('nan'))
    images = [dict(id=frame) for frame in range(num_frames)]
    categories = [dict(id=label) for label in range(num_classes)]
    found, wanted = _annotations(detections), _annotations(truth)
    for box, score in zip(found, detections.scores.tolist(), strict=True):
        box['score'] = score
    for box, is_crowd in zip(wanted, crowd.tolist(), strict=True):
        box['iscrowd'] = int(is_crowd)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        reference = COCO()
        reference.dataset = dict(images=images, categories=categories, annotations=wanted)
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(found) if found else COCO(), 'bbox')
        # Without detections pycocotools knows no frames.
        evaluation.params.imgIds = list(range(num_frames))
        evaluation.params.catIds = list(range(num_classes))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(FIGURES, evaluation.stats[: len(FIGURES)].tolist(), strict=True))


def _annotations(boxes: GroundTruth | Detections) -> list[dict]:
    """Boxes in COCO's format, numbered from 1, since pycocotools reads 0 as none."""
    sides = np.concatenate([boxes.boxes[:, :2], boxes.boxes[:, 2:] - boxes.boxes[:, :2]], axis=1)
    columns = (boxes.frames.tolist(), boxes.labels.tolist(), sides.tolist())
    return [
        dict(id=i, image_id=frame, category_id=label, bbox=box, area=box[2] * box[3], iscrowd=0)
        for i, (frame, label, box) in enumerate(zip(*columns, strict=True), start=1)
    ]
