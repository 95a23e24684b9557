"""Ground truth of a COCO-VID json, and everything that is measured against it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semidff.datasets.vid_json import load_vid_json, match_classes, ordered_frames

from .coco_ap import coco_ap
from .motion_speed import SPEEDS, ap_by_speed, motion_iou, speed_of
from .vid_ap import Detections, GroundTruth, ap_per_class, match_detections, mean_ap


@dataclass(frozen=True)
class VIDResult:
    """Figures of one evaluation; AP and mAP in 0..1, NaN where undefined.

    Attributes:
        classes: Class names.
        ap: (num_classes,) AP.
        num_boxes: (num_classes,) ground-truth boxes.
        speed_ap: For slow, medium and fast: (num_classes,) AP.
        speed_boxes: For slow, medium and fast: (num_classes,) ground-truth boxes.
    """

    classes: tuple[str, ...]
    ap: np.ndarray
    num_boxes: np.ndarray
    speed_ap: dict[str, np.ndarray]
    speed_boxes: dict[str, np.ndarray]

    @classmethod
    def average(cls, results: Sequence['VIDResult']) -> 'VIDResult':
        """The mean of several evaluations of the same frames."""
        first = results[0]
        return cls(
            first.classes,
            np.mean([result.ap for result in results], axis=0),
            first.num_boxes,
            {speed: np.mean([r.speed_ap[speed] for r in results], axis=0) for speed in SPEEDS},
            first.speed_boxes,
        )

    def mean(self, rule: str = 'present') -> float:
        """mAP over the classes, see :func:`~semidff.evaluation.vid_ap.mean_ap`."""
        return mean_ap(self.ap, self.num_boxes, rule)

    def mean_of_speed(self, speed: str) -> float:
        """mAP of 'slow', 'medium' or 'fast' objects over the classes that have any."""
        return mean_ap(self.speed_ap[speed], self.speed_boxes[speed])


class VIDEvaluator:
    """Evaluates detections against a COCO-VID json by ImageNet VID's rules.

    All annotations count, crowded or occluded ones too, as in the original. Annotations of
    categories that are not among the classes do not. Images with ``is_labeled: false`` are left
    out with all that is detected in them.

    Args:
        ann_file: The json.
        classes: Class names in the order of the labels; None takes the json's.
        backend_args: Storage backend of the json.
        min_score: Annotations with a lower ``score`` do not count; those without one, as people's are, always do.

    Attributes:
        classes: Class names.
        frames: The json's images in (video, frame) order.
        frame_numbers: ILSVRC frame id of each frame: ``ilsvrc_id`` where the json has it, else 1,
            2, 3, ...
        labeled: Which frames count, (frames,) bool.

    Raises:
        FileNotFoundError: There is no such json.
        ValueError: The json is broken, has other classes or no labeled frame, or is one of detections that all
            have lower scores.
    """

    def __init__(
        self,
        ann_file: str,
        classes: Sequence[str] | None = None,
        backend_args: dict | None = None,
        min_score: float = 0.0,
    ) -> None:
        content = load_vid_json(ann_file, backend_args)
        self.classes, labels = match_classes(content, classes, ann_file)
        self.frames = ordered_frames(content, ann_file)
        self.frame_numbers = _frame_numbers(self.frames, ann_file)
        self.labeled = np.array([frame.get('is_labeled', True) for frame in self.frames], bool)
        if not self.labeled.any():
            raise ValueError(f'{ann_file}: all images have is_labeled=false, nothing can be tested')
        position = {
            frame['id']: index for index, frame in enumerate(self.frames) if self.labeled[index]
        }
        present = [
            a
            for a in content['annotations']
            if a['category_id'] in labels and a['image_id'] in position
        ]
        counted = [a for a in present if a.get('score', math.inf) >= min_score]
        if present and not counted:
            raise ValueError(
                f'{ann_file}: no box of these classes has a score of at least {min_score}; lower it'
            )
        frames = np.array([position[a['image_id']] for a in counted], int)
        boxes = np.array([a['bbox'] for a in counted], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        self.truth = GroundTruth(
            frames, np.array([labels[a['category_id']] for a in counted], int), boxes
        )
        self.speeds = self._speeds([a.get('instance_id') for a in counted])

    def _speeds(self, instances: list[int | None]) -> np.ndarray:
        """Speed of each box, (m,), see :func:`~semidff.evaluation.motion_speed.speed_of`."""
        videos = np.array([frame['video_id'] for frame in self.frames], int)[self.truth.frames]
        times = np.array([frame['frame_id'] for frame in self.frames], int)[self.truth.frames]
        tracks = np.array([-1 if track is None else track for track in instances], int)
        return speed_of(motion_iou(videos, times, tracks, self.truth.boxes))

    def evaluate(self, detections: Detections, only: np.ndarray | None = None) -> VIDResult:
        """AP of all classes, overall and by speed.

        Args:
            detections: Detections; ``frames`` are positions in :attr:`frames`.
            only: Positions of the frames that are evaluated, ascending, (k,) int; those without
                labels are left out. None for all.

        Returns:
            The figures.
        """
        truth, detections, only, kept = self._counted(detections, only)
        speeds, num_frames = self.speeds[kept], len(only)
        num_classes = len(self.classes)
        ranked = detections.ranked()
        matched = match_detections(truth, ranked, num_classes)
        count = truth.count(num_classes)
        ap = ap_per_class(ranked.labels, matched >= 0, matched < 0, count)
        by_speed = ap_by_speed(truth, ranked, matched, speeds, num_frames, num_classes)
        return VIDResult(
            self.classes,
            ap,
            count,
            {speed: by_speed[speed][0] for speed in SPEEDS},
            {speed: by_speed[speed][1] for speed in SPEEDS},
        )

    def coco_ap(self, detections: Detections) -> dict[str, float]:
        """COCO's AP of the same frames, see :func:`~semidff.evaluation.coco_ap.coco_ap`."""
        truth, detections, only, _ = self._counted(detections)
        return coco_ap(truth, detections, len(only), len(self.classes))

    def _counted(
        self, detections: Detections, only: np.ndarray | None = None
    ) -> tuple[GroundTruth, Detections, np.ndarray, np.ndarray]:
        """What counts on some of the frames.

        Returns:
            Ground truth and detections, their frames as positions in the third; the frames' positions in
            :attr:`frames`; which boxes of the whole ground truth count, (m,) bool.
        """
        only = np.arange(len(self.frames)) if only is None else only
        only = only[self.labeled[only]]
        kept = np.isin(self.truth.frames, only)
        truth = GroundTruth(
            np.searchsorted(only, self.truth.frames[kept]),
            self.truth.labels[kept],
            self.truth.boxes[kept],
        )
        found = np.isin(detections.frames, only)
        detections = Detections(
            np.searchsorted(only, detections.frames[found]),
            detections.labels[found],
            detections.scores[found],
            detections.boxes[found],
        )
        return truth, detections, only, kept


def _frame_numbers(frames: list[dict], source: str) -> np.ndarray:
    """ILSVRC id of each frame, (frames,) int."""
    given = [frame.get('ilsvrc_id') for frame in frames]
    if all(number is None for number in given):
        return np.arange(1, len(frames) + 1)
    if None in given or len(set(given)) < len(given):
        wrong = 'only some images have an' if None in given else 'two images have the same'
        raise ValueError(f'{source}: {wrong} ilsvrc_id; every image needs its own, or none')
    return np.array(given, int)
