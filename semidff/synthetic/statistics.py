"""Difficulty of clips: IoU of true boxes that are copied or interpolated between key frames."""

import numpy as np


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of paired boxes (..., 4), x1, y1, x2, y2."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    overlap = np.clip(
        np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None
    )
    inter = overlap.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter
    return inter / union


def motion_statistics(tracks: list[dict], interval: int = 10) -> dict[str, float | None]:
    """Return statistics of tracks (frame number -> true box).

    Returns:
        ``copy_iou``: mean IoU of an object's box with its box 1 .. interval - 1 frames later;
        ``interpolation_iou``: mean IoU, at the middle frame, of the box interpolated between two
        frames ``interval`` apart; ``displacement``, ``displacement_p90``: mean and 90th percentile
        of the displacement of the box center over interval - 1 frames, in pixels; ``slow``,
        ``medium``, ``fast``: fractions of the boxes by motion IoU (mean IoU with the object's boxes
        up to 10 frames before and after; > 0.9, 0.7 .. 0.9, < 0.7). Values of tracks that are too
        short are None.
    """
    copy, middle, moved, motion = [], [], [], []
    for track in tracks:
        for frame, box in track.items():
            copy += [(box, track[frame + d]) for d in range(1, interval) if frame + d in track]
            if frame + interval - 1 in track:
                later = track[frame + interval - 1]
                centers = [np.add(b[:2], b[2:]) / 2 for b in (box, later)]
                moved.append(centers[1] - centers[0])
            half = frame + interval // 2
            if frame + interval in track and half in track:
                middle.append((np.add(box, track[frame + interval]) / 2, track[half]))
            around = [track[frame + d] for d in range(-10, 11) if frame + d in track]
            motion.append(float(np.mean(box_iou(np.array(around), np.array(box)))))
    motion = np.array(motion)
    distance = np.linalg.norm(np.array(moved).reshape(-1, 2), axis=1)
    return {
        'boxes': len(motion),
        'copy_iou': _mean_iou(copy),
        'interpolation_iou': _mean_iou(middle),
        'displacement': round(float(distance.mean()), 2) if moved else None,
        'displacement_p90': round(float(np.percentile(distance, 90)), 2) if moved else None,
        'slow': round(float((motion > 0.9).mean()), 4),
        'medium': round(float(((motion >= 0.7) & (motion <= 0.9)).mean()), 4),
        'fast': round(float((motion < 0.7).mean()), 4),
    }


def _mean_iou(pairs: list) -> float | None:
    if not pairs:
        return None
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    return round(float(box_iou(first, second).mean()), 4)
