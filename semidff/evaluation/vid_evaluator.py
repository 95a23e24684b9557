"""Evaluation of detections and of detections files against a COCO-VID JSON file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from semidff.datasets.ilsvrc_format import read_detections
from semidff.datasets.vid_json import load_vid_json, match_classes, ordered_frames
from semidff.utils.atomic_write import write_json
from semidff.utils.command_line import Input, Output
from semidff.utils.logs import log_warning
from semidff.utils.tables import text_table

from .metrics import FIGURES, coco_ap
from .motion_speed import SPEEDS, ap_by_speed, motion_iou, speed_of
from .vid_ap import Detections, GroundTruth, ap_per_class, match_detections, mean_ap


@dataclass(frozen=True)
class VIDResult:
    """AP (0..1, NaN: undefined) and number of boxes by class, (num_classes,), also by speed."""

    classes: tuple[str, ...]
    ap: np.ndarray
    num_boxes: np.ndarray
    speed_ap: dict[str, np.ndarray]
    speed_boxes: dict[str, np.ndarray]

    @staticmethod
    def average(results: Sequence['VIDResult']) -> 'VIDResult':
        """Average several evaluations of the same frames."""
        ap = np.mean([result.ap for result in results], axis=0)
        by_speed = {s: np.mean([r.speed_ap[s] for r in results], axis=0) for s in SPEEDS}
        return replace(results[0], ap=ap, speed_ap=by_speed)

    def mean(self, rule: str = 'present') -> float:
        """Compute mAP, see :func:`~semidff.evaluation.vid_ap.mean_ap`."""
        return mean_ap(self.ap, self.num_boxes, rule)

    def mean_of_speed(self, speed: str) -> float:
        """Compute mAP of 'slow', 'medium' or 'fast' objects over the classes that have any."""
        return mean_ap(self.speed_ap[speed], self.speed_boxes[speed])

    def table(self, means: dict[str, float]) -> str:
        """Draw a table in percent: a row per class and a row of ``means``; ``-``: undefined."""
        columns = self.ap, *(self.speed_ap[speed] for speed in SPEEDS)
        table = list(zip(self.classes, self.num_boxes, *columns, strict=True))
        speeds = (means[f'mAP_{speed}'] for speed in SPEEDS)
        table.append(('mean', self.num_boxes.sum(), means['mAP'], *speeds))
        rows = [('class', 'boxes', 'AP', *SPEEDS)]
        for name, boxes, *values in table:
            cells = ('-' if np.isnan(value) else f'{100 * value:.2f}' for value in values)
            rows.append((name, str(boxes), *cells))
        return text_table(rows, footer=True)


class VIDEvaluator:
    """Evaluates detections against a COCO-VID JSON file by the rules of ImageNet VID.

    As in the original, all annotations of the classes count, crowds and occluded objects included.
    Images with ``is_labeled: false`` are left out with all detections in them, as are detections of
    classes that the file does not have.

    Args:
        classes: Class names in the order of the labels; None takes those of the file.
        min_score: Annotations with a lower ``score`` are ignored; annotations without a score are
            used.

    Attributes:
        classes: Evaluated classes.
        frames: Images of the file in (video, frame) order.
        positions: Positions in :attr:`frames` by image id, and by ``(video_id, frame_id)``.
        frame_numbers: ILSVRC frame id of each frame: its ``ilsvrc_id``, or 1, 2, 3, ... in a file
            without them.
        videos: (frames,) int, video id of each frame.
        labeled: (frames,) bool, which frames are evaluated.
        crowd: (boxes,) bool, which annotations are crowds; only :meth:`coco_ap` treats them
            differently.
    """

    def __init__(
        self, ann_file: str, classes: Sequence[str] | None = None, min_score: float = 0.0
    ) -> None:
        content = load_vid_json(ann_file)
        names, labels = match_classes(content, classes, ann_file, some=True)
        if ignored := {c['name'] for c in content['categories']}.difference(names):
            listed = ', '.join(sorted(ignored))
            log_warning(f'{ann_file}: classes unknown to the detector are ignored: {listed}')
        present = sorted({*labels.values()})
        self.classes = tuple(names[label] for label in present)
        self._class_of = np.full(len(names), -1)  # by the detector's label
        self._class_of[present] = range(len(present))
        self.frames = ordered_frames(content, ann_file)
        self.positions: dict[Any, int] = {}
        for at, frame in enumerate(self.frames):
            self.positions[frame['id']] = self.positions[frame['video_id'], frame['frame_id']] = at
        numbers = [frame.get('ilsvrc_id') for frame in self.frames]
        self.frame_numbers = np.array(range(1, len(numbers) + 1) if None in numbers else numbers)
        self.labeled = np.array([frame.get('is_labeled', True) for frame in self.frames], bool)
        if not self.labeled.any():
            raise ValueError(f'{ann_file}: all images have is_labeled=false')
        position = {self.frames[index]['id']: index for index in np.flatnonzero(self.labeled)}
        every = content['annotations']
        present = [a for a in every if a['category_id'] in labels and a['image_id'] in position]
        counted = [a for a in present if a.get('score', math.inf) >= min_score]
        if present and not counted:
            raise ValueError(
                f'{ann_file}: no box of these classes has a score of at least {min_score}; lower it'
            )
        frames = np.array([position[a['image_id']] for a in counted], int)
        boxes = np.array([a['bbox'] for a in counted], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        classes_of = np.array([labels[a['category_id']] for a in counted], int)
        self.truth = GroundTruth(frames, self._class_of[classes_of], boxes)
        self.crowd = np.array([a.get('iscrowd', 0) for a in counted], bool)
        self.videos = np.array([frame['video_id'] for frame in self.frames], int)
        times = np.array([frame['frame_id'] for frame in self.frames], int)[frames]
        videos = self.videos[frames]
        tracks = [-1 if a.get('instance_id') is None else a['instance_id'] for a in counted]
        self.speeds = speed_of(motion_iou(videos, times, np.array(tracks, int), boxes))

    def evaluate(self, detections: Detections, only: np.ndarray | None = None) -> VIDResult:
        """Compute the AP of all classes, overall and by speed.

        ``frames`` of the detections are positions in :attr:`frames`. ``only``, (k,) int, holds the
        ascending positions of the frames to evaluate, None for all; unlabeled frames are left out.
        """
        truth, detections, only, kept = self._select(detections, only)
        num_classes = len(self.classes)
        ranked = detections.ranked()
        matched = match_detections(truth, ranked, num_classes)
        count = truth.count(num_classes)
        ap = ap_per_class(ranked.labels, matched >= 0, matched < 0, count)
        speeds = ap_by_speed(truth, ranked, matched, self.speeds[kept], len(only), num_classes)
        by_speed = ({speed: pair[i] for speed, pair in speeds.items()} for i in (0, 1))
        return VIDResult(self.classes, ap, count, *by_speed)

    def coco_ap(self, detections: Detections, only: np.ndarray | None = None) -> dict[str, float]:
        """Compute COCO's AP over the labeled frames, or over those at these positions."""
        truth, detections, _, kept = self._select(detections, only)
        return coco_ap(truth, detections, len(self.classes), self.crowd[kept])

    def _select(
        self, detections: Detections, only: np.ndarray | None = None
    ) -> tuple[GroundTruth, Detections, np.ndarray, np.ndarray]:
        """Restrict ground truth and detections to the labeled frames among ``only``.

        Returns:
            Ground truth and detections, whose frames are positions in the third value; the selected
            positions in :attr:`frames`; (m,) bool, the selected boxes of the whole ground truth.
        """
        only = np.arange(len(self.frames)) if only is None else only
        only = only[self.labeled[only]]
        kept = np.isin(self.truth.frames, only)
        truth = self.truth.select(kept)
        detections = replace(detections, labels=self._class_of[detections.labels])
        detections = detections.select((detections.labels >= 0) & np.isin(detections.frames, only))
        truth, detections = (
            replace(boxes, frames=np.searchsorted(only, boxes.frames))
            for boxes in (truth, detections)
        )
        return truth, detections, only, kept


class FileEvaluation(NamedTuple):
    """Result of :func:`evaluate_detections_file`.

    ``summary`` is the content of the JSON file. ``num_outside`` of the ``num_detections`` lines are
    ignored, because their frames are not in the image set.
    """

    result: VIDResult
    num_detections: int
    num_outside: int
    summary: dict

    def __str__(self) -> str:
        values = {key: math.nan if v is None else v for key, v in self.summary.items()}
        lines = [
            self.result.table(values),
            f'mAP over the classes with ground truth: {100 * self.result.mean():.2f}',
        ]
        if 'coco_AP' in values:
            figures = (f'{name} {100 * values[f"coco_{name}"]:.2f}' for name in FIGURES)
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
        ann_file: COCO-VID JSON file of the image set; without labels, detections of ``video_demo.py
            --method frame --json`` as a reference.
        detections: File with lines ``frame_id class score x1 y1 x2 y2``; class k is the k-th of
            ``--classes``, frame_id the ilsvrc_id of the frame, or 1, 2, 3, ... without such ids.
        out: JSON file: ``mAP``, ``AP`` (class name -> value), ``mAP_slow``, ``mAP_medium``,
            ``mAP_fast``, ``mAP_classes_with_ground_truth``, and the metrics of ``--coco``; null
            where undefined.
        mean: mAP is the mean over all classes, undefined if a class without ground truth was
            detected (imagenet), or over the classes with ground truth (present).
        min_score: Ignore annotations with lower scores, if the reference is a file of detections.
        coco: Also compute COCO's AP over IoU 0.5 to 0.95: ``coco_AP``, ``coco_AP_50`` and
            ``coco_AP_75``.
        classes: Class names of the detector, in order; ``--ann-file`` may have only some of them
            (default: the categories of ``--ann-file``).
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
