"""Methods that run the spatial module alone: on every frame, or on key frames, whose boxes they repeat or move."""

import copy
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.models.task_modules.tracking import KalmanFilter
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import bbox_cxcyah_to_xyxy, bbox_overlaps, bbox_xyxy_to_cxcyah
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import nn

from semidff.models.key_frame import FlowField

from .base import METHODS, Frames, Memory, VideoMethod

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

    reads_non_key_frames = True
    pairwise = True

    def key(self, frames: Frames) -> list[SampleList]:
        return [[result] for result in self.predict_key(frames)[0]]

    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        return self.key(frames)


class BoxMethod(VideoMethod):
    """A method that runs the spatial module on key frames and derives all other boxes from theirs."""

    needs_boxes = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.prediction = model.spatial.prediction

    def key(self, frames: Frames) -> list[SampleList]:
        results = self.predict_key(frames)[0]
        finished = [self._key(*pair) for pair in zip(results, frames.memories, strict=True)]
        for result in results:
            # The memory keeps the tensors; what a caller does to a result must not change later frames.
            setattr(result, self.prediction, copy.deepcopy(result.get(self.prediction)))
        return finished

    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        return [self._non_key(*pair) for pair in zip(frames.samples, frames.memories, strict=True)]

    @abstractmethod
    def _key(self, result: DetDataSample, memory: Memory) -> SampleList:
        """Process the detections on a key frame; return the finished results."""

    @abstractmethod
    def _non_key(self, sample: DetDataSample, memory: Memory) -> SampleList:
        """Process a non-key frame; return the finished results."""


@METHODS.register_module(name='copy')
class Copy(BoxMethod):
    """Repeats the predictions of the last key frame (semi-DFF Table 1)."""

    pairwise = True
    needs_boxes = False

    def _key(self, result: DetDataSample, memory: Memory) -> SampleList:
        memory.detections = result.get(self.prediction)
        return [result]

    def _non_key(self, sample: DetDataSample, memory: Memory) -> SampleList:
        setattr(sample, self.prediction, copy.deepcopy(memory.detections))
        return [sample]


@METHODS.register_module(name='interpolate')
class Interpolate(BoxMethod):
    """Linear interpolation between the previous and the next key frame; offline.

    Detections of the two key frames are linked one to one within each class by IoU and center distance. Boxes and
    scores of linked pairs are interpolated linearly in time. The object of an unlinked detection appears or
    disappears between the two key frames: its box is repeated on the frames that are nearer to its key frame, a frame
    exactly in the middle belonging to the earlier one. After the last key frame of a video, its boxes are repeated.
    Results of non-key frames are returned together with those of the next key frame.
    """

    offline = True

    def _key(self, result: DetDataSample, memory: Memory) -> SampleList:
        finished, following = memory.waiting, result.pred_instances
        if finished:
            between = interpolate(arrays_of(memory.detections), arrays_of(following), len(finished))
            for sample, arrays in zip(finished, between, strict=True):
                sample.pred_instances = instances_like(memory.detections, *arrays)
        memory.detections, memory.waiting = following, []
        return [*finished, result]

    def _non_key(self, sample: DetDataSample, memory: Memory) -> SampleList:
        memory.waiting.append(sample)
        return []

    def flush(self, memory: Memory) -> SampleList:
        """Return the frames after the last key frame, with its boxes."""
        finished, memory.waiting = memory.waiting, []
        for sample in finished:
            arrays = arrays_of(memory.detections)
            sample.pred_instances = instances_like(memory.detections, *arrays)
        return finished


def interpolate(before: Arrays, after: Arrays, count: int) -> Iterator[Arrays]:
    """Yield the detections of the ``count`` non-key frames between two key frames, by descending score."""
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
        state: Mean (8,) (center x, y, aspect ratio, height and their changes per frame) and covariance (8, 8) of the
            filter after the last detection.
        detected: Last detection (4,): center x, y, aspect ratio, height.
        now: Mean (8,) predicted for the present frame.
        index: Index among the detections of the last key frame, -1 if the object was missed there.
        misses: Consecutive key frames without a detection.
    """

    state: tuple[np.ndarray, np.ndarray]
    detected: np.ndarray
    now: np.ndarray
    index: int
    score: float
    label: int
    age: int = 0
    misses: int = 0


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

    def step(self) -> None:
        """Move every track by one frame; called once for each frame of the video."""
        for track in self.tracks:
            track.now = self.filter._motion_mat @ track.now
            track.age += 1

    def update(self, bboxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        """Update the tracks with a key frame's boxes (n, 4) xyxy, after :meth:`step` for that frame."""
        self.scores, self.labels = scores, labels
        sides = np.array(bboxes, dtype=np.float64).reshape(-1, 4)
        sides[:, 2:] = np.maximum(sides[:, 2:], sides[:, :2] + 1e-3)
        self._boxes = bbox_xyxy_to_cxcyah(torch.from_numpy(sides)).numpy()
        strong = np.flatnonzero(scores >= MIN_SCORE)
        known = (
            _to_xyxy(np.array([track.now[:4] for track in self.tracks]).reshape(-1, 4)),
            np.array([track.score for track in self.tracks]),
            np.array([track.label for track in self.tracks]),
        )
        rows, columns = link(known, (bboxes[strong], scores[strong], labels[strong]))
        for track in self.tracks:
            track.index, track.misses = -1, track.misses + 1
        for row, index in zip(rows, strong[columns], strict=True):
            track, found = self.tracks[row], self._boxes[index]
            for frame in range(1, track.age + 1):
                interpolated = track.detected + (found - track.detected) * (frame / track.age)
                predicted = self.filter.predict(*track.state)
                track.state = self.filter.update(*predicted, interpolated)
            track.now, track.detected = track.state[0].copy(), found
            track.index, track.score, track.age, track.misses = index, float(scores[index]), 0, 0
        self.tracks = [track for track in self.tracks if track.misses <= _MAX_MISSES]
        for index in np.setdiff1d(strong, strong[columns]):
            found, score, label = self._boxes[index], float(scores[index]), int(labels[index])
            state = self.filter.initiate(found)
            self.tracks.append(Track(state, found, state[0].copy(), index, score, label))

    def boxes(self) -> np.ndarray:
        """Return the boxes (n, 4), xyxy, of the last key frame's detections, moved to the present frame."""
        boxes = self._boxes.copy()
        for track in self.tracks:
            if track.index >= 0:
                boxes[track.index] += track.now[:4] - track.state[0][:4]
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

    def begin(self) -> Memory:
        return Memory(tracker=BoxTracker())

    def _key(self, result: DetDataSample, memory: Memory) -> SampleList:
        memory.detections = result.pred_instances
        found = memory.detections.cpu()
        memory.tracker.step()
        memory.tracker.update(*(found[name].numpy() for name in ('bboxes', 'scores', 'labels')))
        return [result]

    def _non_key(self, sample: DetDataSample, memory: Memory) -> SampleList:
        tracker = memory.tracker
        tracker.step()
        height, width = sample.ori_shape[:2]
        boxes = np.clip(tracker.boxes(), 0, [width, height, width, height])
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        sample.pred_instances = instances_like(
            memory.detections, boxes[inside], tracker.scores[inside], tracker.labels[inside]
        )
        return [sample]


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
