"""Boxes moved by sparse optical flow (pyramidal Lucas-Kanade), a few milliseconds of one core for a frame."""

import math

import cv2
import numpy as np

_POINTS = 3  # along each side of a box
_INSET = 0.1  # of the box, at whose border there is background
_WINDOW, _LEVELS = 9, 3
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_LEAST = 2  # points that have to be followed
_FURTHEST = 1.0  # pixels from a point to where it is followed forward and backward
_LARGEST_SIDE = (
    720  # the shorter side of a picture, at most: larger ones cost more and are not better
)


def picture_of(image: np.ndarray) -> np.ndarray:
    """Return the gray picture (h, w) of an image (H, W, 3) BGR or (H, W), uint8, in which boxes are moved.

    An image with more than 720 rows and columns is reduced by an integer factor.
    """
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    factor = math.ceil(min(gray.shape) / _LARGEST_SIDE)
    if factor == 1:
        return gray
    size = round(gray.shape[1] / factor), round(gray.shape[0] / factor)
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)


def move_boxes(
    before: np.ndarray, after: np.ndarray, boxes: np.ndarray, velocities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Follow boxes from a picture to the next one.

    Nine points of each box are followed forward and, as a check, backward again. The box makes the median step of
    those that return to where they began.

    Args:
        before, after: Gray pictures (h, w), uint8, of one size.
        boxes: Boxes (n, 4), xyxy, in pixels of the pictures.
        velocities: Steps (n, 2) that are expected. Points are searched there first, and a box whose points are lost
            makes this step.

    Returns:
        Steps (n, 2), and their spread (n,): the median distance of the points' steps from it, in pixels; infinite if
        the points are lost.
    """
    steps, spread = np.array(velocities, np.float64), np.full(len(boxes), np.inf)
    at = _INSET + (1 - 2 * _INSET) * (np.arange(_POINTS) + 0.5) / _POINTS
    grid = np.stack(np.meshgrid(at, at), -1).reshape(1, -1, 2)
    points = boxes[:, None, :2] + (boxes[:, None, 2:] - boxes[:, None, :2]) * grid
    used = ((points >= 0) & (points < before.shape[::-1])).all(-1)
    if not used.any():
        return steps, spread
    start = points[used].astype(np.float32)
    guess = start + np.broadcast_to(steps[:, None], points.shape)[used].astype(np.float32)
    there, found = _follow(before, after, start, guess)
    back, returned = _follow(after, before, there, start.copy())
    good = found & returned & (np.abs(back - start).max(1) < _FURTHEST)
    flow = np.full(points.shape, np.nan)
    flow[used] = np.where(good[:, None], there - start, np.nan)
    followed = (~np.isnan(flow[..., 0])).sum(1) >= _LEAST
    if followed.any():
        steps[followed] = _median(flow[followed])
        away = np.linalg.norm(flow[followed] - steps[followed, None], axis=-1)
        spread[followed] = _median(away)
    return steps, spread


def _follow(
    before: np.ndarray, after: np.ndarray, points: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where points (n, 2) are, searched from a guess, and whether they were found (n,)."""
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        points,
        guess,
        winSize=(_WINDOW, _WINDOW),
        maxLevel=_LEVELS,
        criteria=_STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return found, status.ravel() > 0


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median over axis 1 of numbers that are not NaN, several times faster than ``np.nanmedian``."""
    ordered = np.sort(values, axis=1)  # NaN is last
    last = (~np.isnan(ordered)).sum(1, keepdims=True) - 1
    low, high = (np.take_along_axis(ordered, at, 1) for at in (last // 2, (last + 1) // 2))
    return ((low + high) / 2)[:, 0]
