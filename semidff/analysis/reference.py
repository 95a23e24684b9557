"""What the agreement is with, without labels: a detector's boxes on every frame, filtered or as they are.

Filtered ones do not flicker, but where the filter is wrong, they would call it the truth. Therefore, its boxes and
those of *interpolate* are compared with the detector's on frames that neither has seen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmdet.structures.bbox import bbox_overlaps

from semidff.evaluation import Detections

from .runs import REFERENCE, OperatingPoint, Run

# At shorter intervals, errors of the detector that last some frames are interpolated, too.
_LEFT_OUT = OperatingPoint('track', 10, 1.0, 0, 'both'), OperatingPoint('interpolate', 10)
COMPARED = OperatingPoint('frame'), REFERENCE, *_LEFT_OUT
"""What a :class:`Reference` is made of."""

_TOLERANCE = 0.01  # of mean IoU


class Reference(NamedTuple):
    """A detector's boxes on every frame: ``raw`` ones that are confident, and all, filtered both ways.

    ``ious`` are the mean IoU of raw boxes that are left out with *track*, filtered both ways, and with *interpolate*,
    of those that both find, at an IoU of 0.5; 0 if there are none.
    """

    raw: Detections
    filtered: Detections
    ious: tuple[float, float]

    @property
    def is_raw(self) -> bool:
        """Whether the filter predicts left-out boxes worse than interpolation."""
        return not 0 < self.ious[1] <= self.ious[0] + _TOLERANCE

    def compared(self, run: Run, is_raw: bool) -> tuple[Detections, Detections]:
        """Return filtered boxes and those of a run, or raw ones and those of the run on frames it has not seen."""
        found = run.detections()
        left_out = unseen(run, self.raw, found)
        all_frames = self.raw if is_raw else self.filtered, found
        return left_out if is_raw and len(left_out[0]) else all_frames


def reference_of(runs: Sequence[Run], min_score: float) -> Reference:
    """Return the reference, given runs of :data:`COMPARED` and the lowest score of its boxes."""
    raw, filtered, *others = (run.detections() for run in runs)
    raw = raw.select(np.flatnonzero(raw.scores >= min_score))
    left_out, *others = unseen(runs[-1], raw, *others)
    ious = np.array([_best_ious(left_out, other) for other in others])
    found = (ious >= 0.5).all(0)
    return Reference(raw, filtered, tuple((ious * found).sum(1) / max(found.sum(), 1)))


def stand_in(point: OperatingPoint) -> OperatingPoint:
    """Return what is compared with raw boxes: for a point that sees all frames, one that sees every second one."""
    if point.method != 'frame':
        return point
    method = 'track' if point.filter else 'interpolate'
    return OperatingPoint(method, 2, point.scale, filter=point.filter).completed()


def unseen(run: Run, *several: Detections) -> tuple[Detections, ...]:
    """Return detections on frames on which the detector of a run did not run, on all if there are none."""
    seen = np.concatenate(run.seen)
    return tuple(one.select(np.flatnonzero(~seen[one.frames] | seen.all())) for one in several)


def _best_ious(boxes: Detections, others: Detections) -> np.ndarray:
    """Return the largest IoU of boxes with others of their class and frame, (n,)."""
    best = np.zeros(len(boxes))
    for frame in np.unique(boxes.frames):
        own, rows = (np.flatnonzero(one.frames == frame) for one in (boxes, others))
        pair = torch.from_numpy(boxes.boxes[own]), torch.from_numpy(others.boxes[rows])
        alike = boxes.labels[own][:, None] == others.labels[rows]
        best[own] = (bbox_overlaps(*pair).numpy() * alike).max(1, initial=0)
    return best
