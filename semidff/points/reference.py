"""Reference of the agreement, without labels: a detector's boxes on every frame, filtered or not.

Filtered boxes do not flicker, but where the filter is wrong, they would make its errors the truth.
Therefore, its boxes and those of *interpolate* are compared with the detector's on frames that
neither has seen.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from semidff.evaluation import Detections
from semidff.filter.links import overlaps
from semidff.inference.point import Point
from semidff.utils.atomic_write import atomic_write

from .runs import Run
from .table import Table, untrained_key

COMPARED = (
    Point('frame'),
    Point('frame', filter='both'),
    # At shorter intervals, errors of the detector that last some frames are interpolated, too.
    Point('track', 10, filter='both'),
    Point('interpolate', 10),
)
"""Points of which a :class:`Reference` is made."""

_TOLERANCE = 0.01  # of mean IoU
_FILE = 'reference.npz'


class Reference(NamedTuple):
    """A detector's boxes on every frame.

    Attributes:
        raw: Its confident boxes.
        filtered: All boxes, filtered both ways.
        ious: Mean IoU of raw boxes that are left out with *track*, filtered both ways, and with
            *interpolate*, of those that both find, at an IoU of 0.5; 0 if there are none.
    """

    raw: Detections
    filtered: Detections
    ious: tuple[float, float]

    @property
    def is_raw(self) -> bool:
        """Whether the filter predicts left-out boxes worse than interpolation."""
        return not 0 < self.ious[1] <= self.ious[0] + _TOLERANCE

    def save(self, table: Table) -> None:
        """Write the boxes, on which the figures of a table rest, beside the table."""
        arrays = {
            f'{name}_{column}': array
            for name in ('raw', 'filtered')
            for column, array in vars(getattr(self, name)).items()
        }
        key = json.dumps(untrained_key(table.key))
        with atomic_write(table.file.with_name(_FILE), binary=True) as file:
            np.savez_compressed(file, key=key, ious=self.ious, **arrays)

    @classmethod
    def load(cls, table: Table) -> 'Reference | None':
        """Read the reference of a table; None if there is none with its key."""
        if not (file := table.file.with_name(_FILE)).is_file():
            return None
        with np.load(file) as content:
            if str(content['key']) != json.dumps(untrained_key(table.key)):
                return None
            raw, filtered = (
                Detections(*(content[f'{name}_{column}'] for column in Detections.__annotations__))
                for name in ('raw', 'filtered')
            )
            return cls(raw, filtered, tuple(content['ious'].tolist()))

    def of_first(self, frames: int) -> 'Reference':
        """Return the reference of the first frames."""
        parts = (boxes.select(boxes.frames < frames) for boxes in (self.raw, self.filtered))
        return Reference(*parts, self.ious)

    def compared(self, run: Run, is_raw: bool) -> tuple[Detections, Detections]:
        """Return reference boxes and those of a run: of raw ones on frames it has not seen."""
        left_out = _unseen(run, self.raw, run.detections)
        all_frames = self.raw if is_raw else self.filtered, run.detections
        return left_out if is_raw and len(left_out[0]) else all_frames


def reference_of(runs: Sequence[Run], min_score: float) -> Reference:
    """Return the reference, given runs of :data:`COMPARED` and the lowest score of its boxes."""
    raw, filtered, *others = (run.detections for run in runs)
    raw = raw.select(np.flatnonzero(raw.scores >= min_score))
    left_out, *others = _unseen(runs[-1], raw, *others)
    ious = np.array([_best_ious(left_out, other) for other in others])
    both = (ious >= 0.5).all(0)
    return Reference(raw, filtered, tuple((ious * both).sum(1) / max(both.sum(), 1)))


def stand_in(point: Point) -> Point:
    """Return what is compared with raw boxes: a point that sees every second frame, not all."""
    if point.method != 'frame':
        return point
    method = 'track' if point.filter else 'interpolate'
    return replace(point, method=method, key_interval=2)


def _unseen(run: Run, *several: Detections) -> list[Detections]:
    """Return detections on frames on which a run did not detect, on all if there are none."""
    kept = ~run.seen | run.seen.all()
    return [boxes.select(np.flatnonzero(kept[boxes.frames])) for boxes in several]


def _best_ious(boxes: Detections, others: Detections) -> np.ndarray:
    """Return the largest IoU of boxes with others of their class and frame, (n,)."""
    best = np.zeros(len(boxes))
    for frame in np.unique(boxes.frames):
        rows, columns = (np.flatnonzero(part.frames == frame) for part in (boxes, others))
        iou = overlaps(boxes.boxes[rows], others.boxes[columns])
        alike = boxes.labels[rows][:, None] == others.labels[columns]
        best[rows] = (iou * alike).max(1, initial=0)
    return best
