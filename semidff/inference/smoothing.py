"""Smoothing of detections over time: a stage after the method, which needs no training.

Detections of consecutive frames are linked into tracks. An object keeps its class and its visibility, while a
detector's score for it fluctuates, on propagated features more than on others: a score becomes the mean of its track
within a window. Boxes fluctuate around the object, too, but their mean would lag behind where motion changes: a box
becomes the estimate of a Rauch-Tung-Striebel smoother of its track.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from mmdet.structures import DetDataSample, SampleList

from .methods.boxes import MAX_DISTANCE, MIN_SCORE, Arrays, arrays_of, link

NEAR = 1.0
"""Largest distance of linked boxes if boxes are smoothed.

Boxes of *coast* and *copy* jump at key frames: smoothed across such jumps, they are worse than before.
"""


class Smoother:
    """Smooths the detections of one stream.

    Scores are weighted by themselves and by a Gaussian of the distance in frames, so that a weak detection of an
    object is raised more than a strong one is lowered. Boxes of instances with masks do not change.

    Args:
        scores: Number of frames before a frame that contribute to its scores; 0: scores do not change.
        boxes: Number of frames after a frame that contribute to its boxes, as all frames before it do; 0: boxes do not
            change. Results wait for these frames.
        offline: Whether as many frames after a frame as before it contribute to its scores; results then wait for them.
    """

    def __init__(self, scores: int = 0, boxes: int = 0, offline: bool = False) -> None:
        self.scores, self.scores_ahead, self.boxes = scores, scores if offline else 0, boxes
        self.ahead = max(self.scores_ahead, boxes)
        self._frames: deque[_Linked] = deque(maxlen=scores + self.ahead + 1)
        self._waiting = self._tracks = 0
        self._filters = BoxFilters()

    def push(self, samples: SampleList) -> SampleList:
        """Take the results of the next frames; return those that are final, with the best detection first."""
        finished = []
        for sample in samples:
            self._frames.append(self._linked(sample))
            self._waiting += 1
            if self._waiting > self.ahead:
                finished += self._smoothed(1)
        return finished

    def flush(self) -> SampleList:
        """Return the results that wait for later frames."""
        return self._smoothed(self._waiting)

    def _linked(self, sample: DetDataSample) -> '_Linked':
        boxes, scores, labels = arrays_of(sample.pred_instances)
        strong = np.flatnonzero(scores >= MIN_SCORE)
        arrays = boxes[strong], scores[strong].astype(np.float64), labels[strong]
        tracks, links = np.full(len(strong), -1), (np.zeros(0, int), np.zeros(0, int))
        before = self._frames[-1] if self._frames else None
        if before:
            links = link(before.arrays, arrays, NEAR if self.boxes else MAX_DISTANCE)
            tracks[links[1]] = before.tracks[links[0]]
        new = np.flatnonzero(tracks < 0)
        tracks[new] = np.arange(self._tracks, self._tracks + len(new))
        self._tracks += len(new)
        frame = _Linked(sample, strong, arrays, tracks, links)
        if self.boxes:
            self._filters.update(frame, before)
        return frame

    def _smoothed(self, count: int) -> SampleList:
        """Return the ``count`` earliest waiting frames with their final scores and boxes."""
        first = len(self._frames) - self._waiting
        self._waiting -= count
        frames, finished = list(self._frames), []
        boxes = self._filters.smooth(frames[first:], count) if self.boxes else [None] * count
        for at, smooth in enumerate(boxes, first):
            frame = frames[at]
            instances = frame.sample.pred_instances
            if self.boxes and 'masks' not in instances:
                instances.bboxes = instances.bboxes.clone()
                inside = _inside(smooth, frame)
                instances.bboxes[frame.strong] = instances.bboxes.new_tensor(inside)
            if self.scores:
                instances.scores = instances.scores.clone()
                scores = instances.scores.new_tensor(self._mean_scores(at))
                instances.scores[frame.strong] = scores
                order = instances.scores.argsort(descending=True, stable=True)
                frame.sample.pred_instances = instances[order]
            finished.append(frame.sample)
        return finished

    def _mean_scores(self, at: int) -> np.ndarray:
        frame, first = self._frames[at], max(at - self.scores, 0)
        total, weights = np.zeros(len(frame.tracks)), np.zeros(len(frame.tracks))
        for index, other in enumerate(
            islice(self._frames, first, at + self.scores_ahead + 1), first
        ):
            _, own, others = np.intersect1d(frame.tracks, other.tracks, return_indices=True)
            scores = other.arrays[1][others]
            weight = scores * math.exp(-0.5 * (1.6 * (index - at) / self.scores) ** 2)
            total[own] += weight * scores
            weights[own] += weight
        return total / weights


@dataclass
class _Linked:
    """A result, and of its ``strong`` detections boxes, scores and labels, and tracks.

    Attributes:
        links: Indices of linked detections in the frame before and in this one.
        ages: Number of earlier boxes of each track, :data:`_OLDEST` - 1 at most.
        states: Filtered states (n, 2, 4, ratios): centers and sizes, and their velocities.
    """

    sample: DetDataSample
    strong: np.ndarray
    arrays: Arrays
    tracks: np.ndarray
    links: tuple[np.ndarray, np.ndarray]
    ages: np.ndarray | None = None
    states: np.ndarray | None = None


def _inside(boxes: np.ndarray, frame: _Linked) -> np.ndarray:
    """Clip smoothed boxes to the image, as detectors do; those without area become the detected ones."""
    height, width = frame.sample.get('ori_shape', (np.inf, np.inf))[:2]
    boxes = np.clip(boxes, 0, [width, height, width, height])
    return np.where((boxes[:, 2:] > boxes[:, :2]).all(1, keepdims=True), boxes, frame.arrays[0])


_RATIOS = np.geomspace(1e-4, 1e2, 13)
_OLDEST = 80  # frames, after which the gains are constant
_TRUSTED = 0.3  # lowest score of boxes that the noise is estimated from
_LEAST = 20  # boxes, without which it is not estimated


class BoxFilters:
    """Kalman filters and smoother of a stream's boxes: center and size (w, h), each with constant velocity.

    Only the ratio of process noise (acceleration) to measurement noise matters. It is estimated without labels, from
    the boxes so far: a filter runs for every ratio of a grid, and the one with the most likely innovations is used. It
    is one for centers and another for sizes, which change more slowly.
    """

    def __init__(self) -> None:
        self._count = 0
        # Logarithms of the innovations' variances, and innovations in units of their deviations and the box's size.
        self._logs, self._squares = np.zeros(len(_RATIOS)), np.zeros((2, len(_RATIOS)))

    def update(self, frame: _Linked, before: _Linked | None) -> None:
        """Set ages and states of the next frame."""
        (boxes, scores, _), (rows, columns) = frame.arrays, frame.links
        measured = np.concatenate(
            [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1
        )
        predicted = np.zeros((len(boxes), 2, 4, len(_RATIOS)))
        predicted[:, 0] = measured[..., None]
        frame.ages = ages = np.zeros(len(boxes), int)
        if before:
            ages[columns] = np.minimum(before.ages[rows] + 1, _OLDEST - 1)
            predicted[columns] = _predict(before.states[rows])
        innovations = measured[..., None] - predicted[:, 0]
        # Two boxes determine position and velocity; their innovations say nothing.
        used = np.flatnonzero((ages >= 2) & (scores >= _TRUSTED))
        if len(used):
            size = np.sqrt(np.maximum(measured[used, 2:].prod(1), 1e-6))
            squares = (innovations[used] / size[:, None, None]) ** 2
            variances = _VARIANCES[ages[used]]
            self._count += len(used)
            self._logs += np.log(variances).sum(0)
            self._squares += (
                (squares / variances[:, None]).reshape(-1, 2, 2, len(_RATIOS)).sum((0, 2))
            )
        frame.states = predicted + _GAINS[ages][:, :, None] * innovations[:, None]

    def smooth(self, frames: Sequence[_Linked], count: int) -> list[np.ndarray]:
        """Return boxes (n, 4) of the first ``count`` frames, smoothed with all frames."""
        # With few boxes they are nearly unsmoothed.
        chosen = np.full(2, len(_RATIOS) - 1)
        if self._count >= _LEAST:
            likely = self._logs + self._count * np.log(np.maximum(self._squares, 1e-12))
            chosen = likely.argmin(1)
        columns, links, smooth, found = chosen.repeat(2), None, None, []
        all_gains = _BACKWARD[..., columns]
        for index in range(len(frames) - 1, -1, -1):
            frame = frames[index]
            states = frame.states[..., np.arange(4), columns]
            if links:
                own, others = links
                gains = all_gains[frame.ages[own]]
                change = smooth[others] - _predict(states[own])
                states[own] += (gains * change[:, None]).sum(2)
            if index < count:
                center, size = states[:, 0, :2], states[:, 0, 2:]
                found.append(np.concatenate([center - size / 2, center + size / 2], 1))
            smooth, links = states, frame.links
        return found[::-1]


def _predict(states: np.ndarray) -> np.ndarray:
    return np.stack([states[:, 0] + states[:, 1], states[:, 1]], 1)


def _gain_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute what depends on age and ratio alone, for measurement noise of 1.

    Returns:
        Gains (ages, 2, ratios) and variances of the innovations (ages, ratios) of the filter; gains
        (ages, 2, 2, ratios) of the smoother.
    """
    step, noise = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.25, 0.5], [0.5, 1.0]])
    gains, variances = np.zeros((_OLDEST, 2, len(_RATIOS))), np.zeros((_OLDEST, len(_RATIOS)))
    backward = np.zeros((_OLDEST, 2, 2, len(_RATIOS)))
    for at, ratio in enumerate(_RATIOS):
        predicted = np.diag([1e6, 1e6])  # position and velocity of a new object are unknown
        for age in range(_OLDEST):
            variances[age, at] = predicted[0, 0] + 1
            gains[age, :, at] = predicted[:, 0] / variances[age, at]
            filtered = predicted - np.outer(gains[age, :, at], predicted[0])
            predicted = step @ filtered @ step.T + ratio * noise
            backward[age, ..., at] = filtered @ step.T @ np.linalg.inv(predicted)
    return gains, variances, backward


_GAINS, _VARIANCES, _BACKWARD = _gain_tables()
