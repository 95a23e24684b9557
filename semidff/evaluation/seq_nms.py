"""Seq-NMS (Han et al. 2016, arXiv 1602.08465): boxes of a video are linked into sequences that share a score."""

from dataclasses import replace

import numpy as np

from .vid_ap import Detections, box_iou, same_key_pairs

LINKED = 0.5
"""Boxes of a class in consecutive frames with a larger IoU are linked."""
SUPPRESSED = 0.3
"""Boxes of a class with a larger IoU with a chosen box of the same frame are removed."""


def seq_nms(detections: Detections, videos: np.ndarray) -> Detections:
    """Choose the sequence of linked boxes with the largest sum of scores, remove those it suppresses, and repeat.

    The scores of a chosen sequence become their mean. A frame without boxes of a class ends the sequences of the class.

    Args:
        detections: Detections of all frames, or of some.
        videos: Video of each frame: positions of a video's frames are consecutive.
    """
    detections = detections.select(np.lexsort((-detections.scores, detections.frames)))
    ends = np.flatnonzero(np.diff(videos[detections.frames])) + 1
    parts = np.split(np.arange(len(detections)), ends)
    scores = np.concatenate([_rescore(detections.select(rows)) for rows in parts])
    return replace(detections, scores=scores).select(~np.isnan(scores))


def _rescore(video: Detections) -> np.ndarray:
    """Return the new scores of a video's detections, which are in the order of their frames; NaN of removed ones."""
    if not len(video):
        return video.scores
    order = np.argsort(video.labels, kind='stable')
    video = video.select(order)
    # A cell is a class in a frame. Keys of cells are consecutive if the frames are and the class is the same.
    frames = video.frames - video.frames.min()
    key = video.labels.astype(np.int64) * (frames.max() + 2) + frames
    cells, starts, counts = np.unique(key, return_index=True, return_counts=True)
    before = np.where(np.diff(cells, prepend=-2) == 1, np.roll(counts, 1), 0)
    linked = _pairs(video.boxes, (key, key + 1), (counts, before), LINKED)
    suppressed = _pairs(video.boxes, (key, key), (counts, counts), SUPPRESSED)
    # The best sequence that ends with a box: its sum, -1 if the box is no longer there, and the box before, -1 if none.
    sums, previous = video.scores.astype(float), np.full(len(video), -1)

    def extend(cell: int, rows: np.ndarray) -> None:
        own, others = starts[cell] + rows, starts[cell] - before[cell]
        candidates = np.where(linked[cell][rows], sums[others : starts[cell]], 0)
        best = candidates.argmax(1)
        gain = candidates[np.arange(len(rows)), best]
        sums[own] = video.scores[own] + gain
        previous[own] = np.where(gain > 0, others + best, -1)

    for cell in np.flatnonzero(before):
        extend(cell, np.arange(counts[cell]))
    tops, changed = np.maximum.reduceat(sums, starts), np.zeros(len(video) + 1, bool)
    scores = np.full(len(video), np.nan)
    while tops[last := tops.argmax()] >= 0:
        path = [starts[last] + sums[starts[last] : starts[last] + counts[last]].argmax()]
        while previous[path[-1]] >= 0:
            path.append(previous[path[-1]])
        scores[order[path]] = sums[path[0]] / len(path)
        changed[:] = False
        for cell in range(last - len(path) + 1, len(cells)):
            own = slice(starts[cell], starts[cell] + counts[cell])
            weaker = changed[
                previous[own]
            ]  # the last element, of boxes without one before, is False
            if path:
                gone = suppressed[cell][path[-1] - own.start]
                gone[path.pop() - own.start] = True
                sums[own][gone], previous[own][gone] = -1, -1
                weaker &= ~gone
                changed[own] = gone
            elif not weaker.any():
                break
            if weaker.any():
                extend(cell, np.flatnonzero(weaker))
                changed[own] |= weaker
            tops[cell] = sums[own].max()
    return scores


def _pairs(
    boxes: np.ndarray, keys: tuple[np.ndarray, ...], counts: tuple[np.ndarray, ...], iou: float
) -> list[np.ndarray]:
    """Return for each cell which pairs of boxes with equal keys have a larger IoU, (n, m)."""
    pairs = [box_iou(boxes[a], boxes[b]) > iou for a, b, _ in same_key_pairs(*keys)]
    flat = np.concatenate([np.zeros(0, bool), *pairs])
    ends = np.cumsum(np.multiply(*counts))[:-1]
    shapes = zip(*counts, strict=True)
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True)]
