"""Smoothing of detection scores over time.

An object keeps its class and its visibility from frame to frame, while a detector's score for it fluctuates, on
propagated features more than on others. Detections of consecutive frames are linked into tracks, and a score becomes
the mean of its track within a window. Boxes do not change: their mean over time lags behind where motion changes, which
cost more AP than it gained.
"""

import math
from collections import deque
from itertools import islice
from typing import NamedTuple

import numpy as np
from mmdet.structures import DetDataSample, SampleList

from .methods.boxes import Arrays, arrays_of, link

MIN_SCORE = 0.05
"""Detections with a lower score belong to no track and keep their score."""


class ScoreSmoother:
    """Smooths the scores of one stream.

    Scores are weighted by themselves and by a Gaussian of the distance in frames, so that a weak detection of an
    object is raised more than a strong one is lowered.

    Args:
        window: Number of frames before a frame that contribute to its scores.
        offline: Whether as many frames after it contribute, too; results then wait for them.
    """

    def __init__(self, window: int, offline: bool = False) -> None:
        self.window, self.ahead = window, window if offline else 0
        self._frames: deque[_Linked] = deque(maxlen=window + self.ahead + 1)
        self._waiting = self._tracks = 0

    def push(self, samples: SampleList) -> SampleList:
        """Take the results of the next frames; return those whose scores are final, with the best detection first."""
        finished = []
        for sample in samples:
            self._frames.append(self._linked(sample))
            self._waiting += 1
            if self._waiting > self.ahead:
                finished.append(self._finish())
        return finished

    def flush(self) -> SampleList:
        """Return the results that wait for later frames."""
        return [self._finish() for _ in range(self._waiting)]

    def _linked(self, sample: DetDataSample) -> '_Linked':
        """Assign the detections of the next frame to tracks."""
        boxes, scores, labels = arrays_of(sample.pred_instances)
        arrays = boxes, scores.astype(np.float64), labels
        tracks = np.full(len(scores), -1)
        strong = np.flatnonzero(arrays[1] >= MIN_SCORE)
        if self._frames:
            before = self._frames[-1]
            known = np.flatnonzero(before.tracks >= 0)
            rows, columns = link([a[known] for a in before.arrays], [a[strong] for a in arrays])
            tracks[strong[columns]] = before.tracks[known[rows]]
        new = strong[tracks[strong] < 0]
        tracks[new] = np.arange(self._tracks, self._tracks + len(new))
        self._tracks += len(new)
        return _Linked(sample, arrays, tracks)

    def _finish(self) -> DetDataSample:
        """Return the earliest waiting frame with its final scores."""
        at = len(self._frames) - self._waiting
        self._waiting -= 1
        frame = self._frames[at]
        own_scores = frame.arrays[1]
        total, weights = np.zeros(len(own_scores)), np.zeros(len(own_scores))
        tracked = np.flatnonzero(frame.tracks >= 0)
        first = max(at - self.window, 0)
        for index, other in enumerate(islice(self._frames, first, at + self.ahead + 1), first):
            _, own, others = np.intersect1d(
                frame.tracks[tracked], other.tracks, return_indices=True
            )
            own, scores = tracked[own], other.arrays[1][others]
            weight = scores * math.exp(-0.5 * (1.6 * (index - at) / self.window) ** 2)
            total[own] += weight * scores
            weights[own] += weight
        smooth = np.where(weights > 0, total / np.maximum(weights, 1e-12), own_scores)
        instances = frame.sample.pred_instances
        instances.scores = instances.scores.new_tensor(smooth)
        frame.sample.pred_instances = instances[
            instances.scores.argsort(descending=True, stable=True)
        ]
        return frame.sample


class _Linked(NamedTuple):
    """A result, its boxes, scores and labels, and their tracks, -1 where they belong to none."""

    sample: DetDataSample
    arrays: Arrays
    tracks: np.ndarray
