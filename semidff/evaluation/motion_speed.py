"""AP of slow, medium and fast objects as in FGFA (Flow-Guided Feature Aggregation, 5).

The *motion IoU* of an object in a frame is its mean IoU with itself in up to ten frames before and
after, within its track. Slow: above 0.9; medium: 0.7 to 0.9; fast: below 0.7.

For each speed, boxes of the other speeds are ignored: a detection matched to such a box is neither
a true nor a false positive. The weight of an unmatched detection as a false positive follows FGFA's
published evaluation, which all tables of the field use:

* nearest (by IoU, of all classes) to a box of this speed: 1; to a box of another speed: 0;
* equally near to both, in particular far from all: the frame's share of boxes of *other* speeds;
* in a frame without boxes: the share of this speed among all boxes, where an empty frame stands for
  a fast box.

The last two rules look odd; they are kept so that results are comparable.
"""

import numpy as np

from .vid_ap import Detections, GroundTruth, ap_per_class, box_iou, same_key_pairs

SPEEDS = ('slow', 'medium', 'fast')
WINDOW = 10
_UNKNOWN = len(SPEEDS)


def motion_iou(
    videos: np.ndarray, times: np.ndarray, tracks: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """Compute the mean IoU of every box with the same object up to ten frames before and after.

    Args:
        tracks: (m,) int, track id in the video; negative where unknown.
        boxes: (m, 4) x1, y1, x2, y2, inclusive pixels.

    Returns:
        (m,) float in 0..1; NaN where the object is unknown or in none of these frames.
    """
    order = np.lexsort((times, tracks, videos))
    videos, times, tracks, boxes = videos[order], times[order], tracks[order], boxes[order]
    total, count = np.zeros(len(order)), np.zeros(len(order))
    for step in range(1, WINDOW + 1):
        gap = times[step:] - times[:-step]
        near = (gap > 0) & (gap <= WINDOW) & (tracks[step:] >= 0)
        near &= (videos[step:] == videos[:-step]) & (tracks[step:] == tracks[:-step])
        early = np.flatnonzero(near)
        late = early + step
        overlap = box_iou(boxes[early], boxes[late])
        for side in (early, late):
            total[side] += overlap
            count[side] += 1
    mean = np.full(len(order), np.nan)
    mean[order] = np.divide(total, count, out=np.full(len(order), np.nan), where=count > 0)
    return mean


def speed_of(motion: np.ndarray) -> np.ndarray:
    """Return the index into :data:`SPEEDS` of each motion IoU, (m,) -> (m,) int; 3: unknown."""
    speed = np.where(motion > 0.9, 0, np.where(motion >= 0.7, 1, 2))
    return np.where(np.isnan(motion), _UNKNOWN, speed)


def ap_by_speed(
    truth: GroundTruth,
    ranked: Detections,
    matched: np.ndarray,
    speeds: np.ndarray,
    num_frames: int,
    num_classes: int,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compute the AP of each class for slow, medium and fast objects.

    Args:
        ranked: Detections by descending score.
        matched: (n,) from :func:`~semidff.evaluation.vid_ap.match_detections`.
        speeds: (m,) from :func:`speed_of`.

    Returns:
        For each speed: AP (num_classes,), NaN for classes without boxes of it; number of boxes.
    """
    per_frame = np.zeros((num_frames, _UNKNOWN + 1))
    np.add.at(per_frame, (truth.frames, speeds), 1)
    unmatched = np.flatnonzero(matched < 0)
    nearest = _nearest_of_each_speed(truth, ranked, unmatched, speeds)
    result = {}
    for index, name in enumerate(SPEEDS):
        hits = (matched >= 0) & (np.append(speeds, -1)[matched] == index)
        misses = np.zeros(len(ranked))
        misses[unmatched] = _miss_weight(nearest, per_frame, ranked.frames[unmatched], index)
        count = np.bincount(truth.labels[speeds == index], minlength=num_classes)
        ap = ap_per_class(ranked.labels, hits, misses, count)
        result[name] = (np.where(count > 0, ap, np.nan), count)
    return result


def _nearest_of_each_speed(
    truth: GroundTruth, ranked: Detections, unmatched: np.ndarray, speeds: np.ndarray
) -> np.ndarray:
    """Return the highest IoU of unmatched detections by speed of the boxes, (n, 4); -1: none."""
    nearest = np.full((len(unmatched), _UNKNOWN + 1), -1.0)
    frames, boxes = ranked.frames[unmatched], ranked.boxes[unmatched]
    for speed in range(_UNKNOWN + 1):
        of_speed = np.flatnonzero(speeds == speed)
        for row, box, starts in same_key_pairs(frames, truth.frames[of_speed]):
            iou = box_iou(boxes[row], truth.boxes[of_speed[box]])
            nearest[row[starts], speed] = np.maximum.reduceat(iou, starts)
    return nearest


def _miss_weight(
    nearest: np.ndarray, per_frame: np.ndarray, frames: np.ndarray, speed: int
) -> np.ndarray:
    """Return the weights of unmatched detections as false positives, by the module's rules."""
    same, other = nearest[:, speed], np.delete(nearest, speed, axis=1).max(axis=1)
    boxes = per_frame.sum(axis=1)
    empty = np.count_nonzero(boxes == 0)
    of_speed = per_frame[:, speed].sum() + (empty if SPEEDS[speed] == 'fast' else 0)
    in_empty_frame = of_speed / max(boxes.sum() + empty, 1)
    share = np.divide(
        boxes - per_frame[:, speed], boxes, out=np.full(len(boxes), in_empty_frame), where=boxes > 0
    )
    return np.where(same > other, 1.0, np.where(other > same, 0.0, share[frames]))
