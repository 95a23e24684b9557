"""Methods that run the spatial module alone: on every frame, or on key frames, whose boxes they repeat or move."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from mmdet.models.task_modules.tracking import KalmanFilter
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_cxcyah_to_xyxy, bbox_overlaps, bbox_xyxy_to_cxcyah
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment

from semidff.inference.intervals import Frame, Interval

from .base import METHODS, VideoMethod

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes (n, 4) float64, scores (n,) and labels (n,) of a frame."""

MAX_DISTANCE = 2.0
"""Largest :func:`box_distance` of linked boxes.

Key frames are many frames apart, so fast and narrow objects do not overlap with themselves. Requiring overlap, as
trackers usually do, would weaken both baselines considerably.
"""

SCORE_WEIGHT = 0.5
"""Weight of the difference in score, which prevents links to a weak second box on the same object."""

MIN_SCORE = 0.05
"""Detections with a lower score belong to no track and do not change."""

_MAX_MISSES = 1  # consecutive missed key frames after which a track is kept


@METHODS.register_module(name='frame')
class EveryFrame(VideoMethod):
    """The spatial module on every frame, the reference of all other methods."""

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        return [result for frame in frames for result in self.key([frame])]


class BoxMethod(VideoMethod):
    """A method that runs the spatial module on key frames and derives all other boxes from theirs."""

    needs_boxes = True

    def key(self, frames: Sequence[Frame]) -> SampleList:
        results, name = super().key(frames), self.executor.model.spatial.prediction
        for frame, result in zip(frames, results, strict=True):
            # What a caller does to a result must not change later frames.
            frame.interval.detections = copy.deepcopy(result.get(name))
        return results


@METHODS.register_module(name='copy')
class Copy(BoxMethod):
    """Repeats the predictions of the last key frame (semi-DFF Table 1)."""

    needs_boxes = False

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        for frame in frames:
            repeated = copy.deepcopy(frame.interval.detections)
            setattr(frame.sample, self.executor.model.spatial.prediction, repeated)
        return [frame.sample for frame in frames]


@METHODS.register_module(name='interpolate')
class Interpolate(BoxMethod):
    """Linear interpolation between the previous and the next key frame; offline.

    Detections of the two key frames are linked one to one within each class by IoU and center distance. Boxes and
    scores of linked pairs are interpolated linearly in time. The object of an unlinked detection appears or
    disappears between the two key frames: its box is repeated on the frames that are nearer to its key frame, a frame
    exactly in the middle belonging to the earlier one. After the last key frame of a video, its boxes are repeated.
    """

    needs_next = True

    def wait(self, frame: Frame) -> None:
        frame.data = dict(data_samples=frame.data['data_samples'])  # intervals may be long
        super().wait(frame)

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        for interval, own in by_interval(frames):
            found = [arrays_of(interval.detections)] * len(own)
            if interval.after:
                found = interpolated(interval, own)
            for frame, arrays in zip(own, found, strict=True):
                frame.sample.pred_instances = instances_like(interval.detections, *arrays)
        return [frame.sample for frame in frames]


def by_interval(frames: Sequence[Frame]) -> list[tuple[Interval, list[Frame]]]:
    """Return consecutive frames of each interval."""
    groups = groupby(frames, lambda frame: id(frame.interval))
    return [(own[0].interval, own) for own in (list(group) for _, group in groups)]


def interpolated(interval: Interval, frames: Sequence[Frame]) -> list[Arrays]:
    """Return the detections of frames of an interval, between its key frame and the next one."""
    ends = (arrays_of(one.detections) for one in (interval, interval.after))
    all_frames = list(interpolate(*ends, interval.length - 1))
    return [all_frames[frame.position - 1] for frame in frames]


def interpolate(before: Arrays, after: Arrays, count: int) -> Iterator[Arrays]:
    """Yield the detections of the ``count`` non-key frames from one key frame to the next, by descending score."""
    rows, columns = link(before, after)
    for time in (position / (count + 1) for position in range(1, count + 1)):
        nearer, linked = (before, rows) if time <= 0.5 else (after, columns)
        single = np.setdiff1d(np.arange(len(nearer[1])), linked)
        boxes = (1 - time) * before[0][rows] + time * after[0][columns]
        scores = (1 - time) * before[1][rows] + time * after[1][columns]
        boxes = np.concatenate([boxes, nearer[0][single]])
        scores = np.concatenate([scores, nearer[1][single]])
        labels = np.concatenate([before[2][rows], nearer[2][single]])
        order = np.argsort(-scores, kind='stable')
        yield boxes[order], scores[order], labels[order]


@dataclass
class Track:
    """Track of an object.

    Attributes:
        mean, covariance: State of the filter after the last detection, (8,) and (8, 8): center x, y, aspect ratio,
            height and their changes per frame.
        detected: Last detection (4,): center x, y, aspect ratio, height.
        index: Index among the detections of the last key frame, -1 if the object was missed there.
        age: Frames from the last detection to the last key frame.
        misses: Consecutive key frames without a detection.
    """

    mean: np.ndarray
    covariance: np.ndarray
    detected: np.ndarray
    index: int
    score: float
    label: int
    age: int = 0
    misses: int = 0

    def moved(self, frames: int) -> np.ndarray:
        """Return the filter's prediction (4,) for so many frames after the last key frame."""
        return self.mean[:4] + (self.age + frames) * self.mean[4:]


class BoxTracker:
    """Causal tracker of detections on every l-th frame, which extrapolates them to the other frames.

    The motion model is mmdet's Kalman filter (constant velocity of center, aspect ratio and height), which is tuned for
    a detection on every frame. Therefore it is also updated with boxes interpolated between two detections of an
    object, as OC-SORT does when an object reappears (observation-centric re-update). mmdet's own trackers (SORT,
    ByteTrack, OC-SORT) report only confirmed tracks with high scores, which costs mAP, assume that consecutive calls
    are consecutive frames, and need the optional package ``lap``.

    A new object stands still until it is detected on a second key frame: the filter's velocity is 0 after the first
    detection. An extrapolated box is the *detected* box, moved by the filter's prediction since then, so that the
    filter's smoothing does not affect fresh detections. A missed object is not reported.
    """

    def __init__(self) -> None:
        self.filter = KalmanFilter()
        self.tracks: list[Track] = []
        self.scores = self.labels = np.zeros(0)  # of the last key frame's detections
        self._boxes = np.zeros((0, 4))

    def update(
        self, bboxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, elapsed: int
    ) -> None:
        """Update the tracks with the boxes (n, 4), xyxy, of a key frame, ``elapsed`` frames after the last one."""
        self.scores, self.labels = scores, labels
        sides = np.array(bboxes, dtype=np.float64).reshape(-1, 4)
        sides[:, 2:] = np.maximum(sides[:, 2:], sides[:, :2] + 1e-3)
        self._boxes = bbox_xyxy_to_cxcyah(torch.from_numpy(sides)).numpy()
        strong = np.flatnonzero(scores >= MIN_SCORE)
        for track in self.tracks:
            track.age += elapsed
        known = (
            _to_xyxy(np.array([track.moved(0) for track in self.tracks]).reshape(-1, 4)),
            np.array([track.score for track in self.tracks]),
            np.array([track.label for track in self.tracks]),
        )
        rows, columns = link(known, (bboxes[strong], scores[strong], labels[strong]))
        for track in self.tracks:
            track.index, track.misses = -1, track.misses + 1
        for row, index in zip(rows, strong[columns], strict=True):
            track, found = self.tracks[row], self._boxes[index]
            state = track.mean, track.covariance
            for frame in range(1, track.age + 1):
                between = track.detected + (found - track.detected) * (frame / track.age)
                state = self.filter.update(*self.filter.predict(*state), between)
            track.mean, track.covariance = state
            track.detected, track.index, track.score = found, index, float(scores[index])
            track.age = track.misses = 0
        self.tracks = [track for track in self.tracks if track.misses <= _MAX_MISSES]
        for index in np.setdiff1d(strong, strong[columns]):
            found, score, label = self._boxes[index], float(scores[index]), int(labels[index])
            self.tracks.append(Track(*self.filter.initiate(found), found, index, score, label))

    def boxes(self, frames: int) -> np.ndarray:
        """Return the boxes (n, 4), xyxy, of the last key frame's detections so many frames later."""
        boxes = self._boxes.copy()
        for track in self.tracks:
            if track.index >= 0:
                boxes[track.index] += track.moved(frames) - track.mean[:4]
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 1e-3)
        return _to_xyxy(boxes)


def _to_xyxy(boxes: np.ndarray) -> np.ndarray:
    return bbox_cxcyah_to_xyxy(torch.from_numpy(boxes)).numpy()


@METHODS.register_module(name='coast')
class Coast(BoxMethod):
    """Detections on key frames, moved by a Kalman filter on non-key frames; causal.

    On key frames the boxes are exactly the detected ones, whatever the state of the filter. On non-key frames all
    detections are moved and keep their scores. Boxes are clipped to the image; those outside of it are dropped.
    """

    sequential = True

    def hand_on(self, interval: Interval) -> None:
        before = interval.before
        interval.state = before.state if before else BoxTracker()
        found = (interval.detections[name].numpy() for name in ('bboxes', 'scores', 'labels'))
        interval.state.update(*found, before.length if before else 0)

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        for frame in frames:
            tracker, sample = frame.interval.state, frame.sample
            height, width = sample.ori_shape[:2]
            boxes = np.clip(tracker.boxes(frame.position), 0, [width, height, width, height])
            inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            arrays = boxes[inside], tracker.scores[inside], tracker.labels[inside]
            sample.pred_instances = instances_like(frame.interval.detections, *arrays)
        return [frame.sample for frame in frames]


def instances_like(template: InstanceData, bboxes, scores, labels) -> InstanceData:
    """Return instances from arrays, with the dtypes and on the device of ``template``."""
    return InstanceData(
        bboxes=template.bboxes.new_tensor(bboxes).reshape(-1, 4),
        scores=template.scores.new_tensor(scores),
        labels=template.labels.new_tensor(labels),
    )


def arrays_of(instances: InstanceData) -> Arrays:
    """Return copies of boxes, scores and labels."""
    # Not instances.cpu(), which would copy masks, too.
    boxes, scores, labels = (
        instances[name].cpu().numpy() for name in ('bboxes', 'scores', 'labels')
    )
    return boxes.astype(np.float64), scores.copy(), labels.copy()


def box_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (1 - IoU) + distance of the centers in mean diagonals, (n, m), of boxes (n, 4) and (m, 4), xyxy."""
    first = np.asarray(first, dtype=np.float64).reshape(-1, 4)
    second = np.asarray(second, dtype=np.float64).reshape(-1, 4)
    iou = bbox_overlaps(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    center_a, center_b = (first[:, :2] + first[:, 2:]) / 2, (second[:, :2] + second[:, 2:]) / 2
    apart = np.linalg.norm(center_a[:, None] - center_b[None], axis=-1)
    diagonal_a = np.linalg.norm(first[:, 2:] - first[:, :2], axis=-1)
    diagonal_b = np.linalg.norm(second[:, 2:] - second[:, :2], axis=-1)
    diagonal = (diagonal_a[:, None] + diagonal_b[None]) / 2
    return 1 - iou + apart / np.maximum(diagonal, 1e-6)


def link(
    first: Arrays, second: Arrays, max_distance: float = MAX_DISTANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Link boxes one to one within each class at the least total cost (Hungarian); return indices into both."""
    distance = box_distance(first[0], second[0])
    unlinked = max_distance + SCORE_WEIGHT
    cost = distance + SCORE_WEIGHT * np.abs(first[1][:, None] - second[1][None])
    allowed = (first[2][:, None] == second[2][None]) & (distance <= max_distance)
    rows, columns = linear_sum_assignment(np.where(allowed, cost, unlinked))
    chosen = allowed[rows, columns]
    return rows[chosen], columns[chosen]
