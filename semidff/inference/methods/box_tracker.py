"""Causal tracker for detections on key frames only, which extrapolates them to non-key frames.

The motion model is mmdet's Kalman filter (constant velocity of center, aspect ratio and height). It is tuned for a
detection on every frame and adapts slowly to a detection on every l-th frame. Therefore the filter is also updated
with boxes interpolated between two detections of an object, as OC-SORT does when an object reappears
(observation-centric re-update). Detections are associated by IoU and center distance (:mod:`linking`). mmdet's own
trackers (SORT, ByteTrack, OC-SORT) do not fit: they report only confirmed tracks with high scores, which costs mAP,
assume that consecutive calls are consecutive frames, and need the optional package ``lap``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from mmdet.models.task_modules.tracking import KalmanFilter
from mmdet.structures.bbox import bbox_cxcyah_to_xyxy, bbox_xyxy_to_cxcyah

from .linking import link

_MIN_SCORE = 0.05  # Detections with a lower score are not tracked and do not move.
_MAX_MISSES = 1  # consecutive missed key frames after which a track is kept


@dataclass
class Track:
    """Track of an object.

    Attributes:
        state: Mean (8,) (center x, y, aspect ratio, height and their changes per frame) and covariance (8, 8) of the
            filter after the last detection.
        detected: Last detection (4,): center x, y, aspect ratio, height.
        now: Mean (8,) predicted for the present frame.
        index: Index among the detections of the last key frame, -1 if the object was missed there.
        score: Score of the last detection.
        label: Class of the object.
        age: Frames since the last detection.
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
    """Kalman tracker for detections on every l-th frame.

    A new object stands still until it is detected on a second key frame: the filter's velocity is 0 after the first
    detection. An extrapolated box is the *detected* box, moved by the filter's prediction since then, so that the
    filter's smoothing does not affect fresh detections. A missed object is not reported.
    """

    def __init__(self) -> None:
        self.filter = KalmanFilter()
        self.tracks: list[Track] = []
        self._boxes = np.zeros((0, 4))

    def step(self) -> None:
        """Move every track by one frame; called once for each frame of the video."""
        for track in self.tracks:
            track.now = self.filter._motion_mat @ track.now
            track.age += 1

    def update(self, bboxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        """Update the tracks with the detections on a key frame, after :meth:`step` for that frame.

        Args:
            bboxes: (n, 4), xyxy in pixels, with ``scores`` and ``labels`` (n,).
        """
        sides = np.array(bboxes, dtype=np.float64).reshape(-1, 4)
        sides[:, 2:] = np.maximum(sides[:, 2:], sides[:, :2] + 1e-3)
        self._boxes = bbox_xyxy_to_cxcyah(torch.from_numpy(sides)).numpy()
        strong = np.flatnonzero(scores >= _MIN_SCORE)
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
