"""Motion between two pictures by sparse optical flow (pyramidal Lucas-Kanade): of the camera, and
of boxes.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

_ROWS = 360  # of a picture, about: larger ones cost more and are not better
_WINDOW, _LEVELS = (11, 11), 3
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_DIFFERENT = 15.0  # gray levels between the surroundings of a point before and after: it is hidden
_CAMERA_POINTS = 12, 8  # in a row and in a column of the picture
_LEAST_CAMERA_POINTS, _LEAST_INLIERS = 12, 0.4
_GRID = np.stack(np.meshgrid(*[np.array([7, 15, 23]) / 30] * 2), -1).reshape(1, -1, 2)  # in a box
_PAIRS = np.triu_indices(9, 1)
_LEAST_POINTS = 2  # of a box that have to be followed for its step
_LEAST_GROWTH_POINTS = 5
_STILL = 0.3  # of its speed: slower points of a moving box belong to the background
_LEAST_SPEED = 1.0  # pixels, of a moving box
_GROWTH = 0.01  # standard deviation of the growth of an object in a frame
_POINT = 0.05  # pixels by which a point is wrong


def picture_of(image: np.ndarray) -> np.ndarray:
    """Return the gray picture (h, w) of an image (H, W, 3) BGR or (H, W), uint8, in which boxes are
    moved.

    An image of at least 540 rows and columns is reduced by an integer factor, to about 360 of the
    fewer ones.
    """
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    factor = max(1, round(min(gray.shape) / _ROWS))
    if factor == 1:
        return gray
    size = round(gray.shape[1] / factor), round(gray.shape[0] / factor)
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)


class Motion(NamedTuple):
    """Motion of n boxes from a picture to the next one.

    Attributes:
        steps: (n, 2), of the centers in pixels.
        growth: (n,), logarithms of the ratio of sizes.
        spread: (n,), median distance of the points' steps from those of the box, in pixels;
            infinite for a box without points that were followed.
    """

    steps: np.ndarray
    growth: np.ndarray
    spread: np.ndarray


def camera_motion(before: np.ndarray, after: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Estimate the motion of the camera: a similarity (2, 3) from pixels of a picture to those of
    the next one.

    It follows points outside of the boxes (n, 4), and is the identity where too few of them agree
    (RANSAC).
    """
    axes = (
        (np.arange(n) + 0.5) / n * size
        for n, size in zip(_CAMERA_POINTS, before.shape[::-1], strict=True)
    )
    points = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    inside = (points[:, None] > boxes[:, :2]) & (points[:, None] < boxes[:, 2:])
    outside = ~inside.all(-1).any(1)
    if outside.sum() > 20:
        points = points[outside]
    start = points.astype(np.float32)
    there, found = _follow(before, after, start, start)
    if found.sum() >= _LEAST_CAMERA_POINTS:
        pair = start[found], there[found]
        matrix, agree = cv2.estimateAffinePartial2D(*pair, ransacReprojThreshold=1.0)
        if matrix is not None and agree.mean() >= _LEAST_INLIERS:
            return matrix
    return np.eye(2, 3)


def move_boxes(
    before: np.ndarray,
    after: np.ndarray,
    boxes: np.ndarray,
    velocities: np.ndarray,
    camera: np.ndarray | None = None,
    followed: np.ndarray | bool = True,
) -> Motion:
    """Follow nine points of each box from a picture to the next one.

    The box makes the median step of its points and grows by the median rate at which pairs of them
    move apart, shrunk towards that of the camera by its variance. Points are left out whose
    surroundings look different afterwards, and those that move as the background does while the box
    moves otherwise.

    Args:
        before, after: Gray pictures (h, w), uint8, of one size.
        boxes: Boxes (n, 4), xyxy, in pixels of the pictures.
        velocities: Expected steps (n, 2) relative to the background. Points are searched there, and
            a box whose points are lost makes this step.
        camera: From :func:`camera_motion`; default: the camera does not move.
        followed: (n,) bool, the boxes whose points are followed; the others move as if theirs were
            lost.
    """
    camera = np.eye(2, 3) if camera is None else camera
    shift, zoom = camera_steps(camera, (boxes[:, :2] + boxes[:, 2:]) / 2)
    motion = Motion(
        shift + velocities, np.full(len(boxes), math.log(zoom)), np.full(len(boxes), np.inf)
    )
    points = boxes[:, None, :2] + (boxes[:, None, 2:] - boxes[:, None, :2]) * _GRID
    used = ((points >= 0) & (points < before.shape[::-1])).all(-1) & np.reshape(followed, (-1, 1))
    if not used.any():
        return motion
    start = points[used].astype(np.float32)
    guess = np.broadcast_to(motion.steps[:, None], points.shape)[used]
    there, found = _follow(before, after, start, start + guess.astype(np.float32))
    flow = np.full(points.shape, np.nan)
    flow[used] = np.where(found[:, None], there - start, np.nan)
    speed = np.linalg.norm(velocities, axis=1)[:, None]
    own = np.linalg.norm(flow - camera_steps(camera, points)[0], axis=-1)
    moving = (own >= _STILL * speed) | ((speed <= _LEAST_SPEED) & ~np.isnan(own))
    flow[~moving & (moving.sum(1) >= _LEAST_POINTS)[:, None]] = np.nan
    count = (~np.isnan(flow[..., 0])).sum(1)
    known = np.flatnonzero(count >= _LEAST_POINTS)
    motion.steps[known] = _median(flow[known])
    away = np.linalg.norm(flow[known] - motion.steps[known, None], axis=-1)
    motion.spread[known] = _median(away)
    many = np.flatnonzero(count >= _LEAST_GROWTH_POINTS)
    if len(many):
        first, second = _PAIRS
        apart, change = (of[many][:, first] - of[many][:, second] for of in (points, flow))
        length = (apart**2).sum(-1)
        rates = (apart * change).sum(-1) / np.maximum(length, 1e-6)
        rate = _median(rates)
        noise = _POINT / np.sqrt(length.mean(1) + 1e-6)
        error = (_median(np.abs(rates - rate[:, None])) + noise) / np.sqrt(count[many])
        gain = _GROWTH**2 / (_GROWTH**2 + error**2)
        motion.growth[many] += gain * (rate - motion.growth[many])
    return motion


def camera_steps(camera: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the steps of points (..., 2) of the background, and the zoom of the camera."""
    steps = points @ camera[:, :2].T + camera[:, 2] - points
    return steps, math.hypot(camera[0, 0], camera[1, 0])


def _follow(
    before: np.ndarray, after: np.ndarray, points: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where points (n, 2) are, searched from a guess, and whether they were found (n,)."""
    there, status, difference = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        points,
        guess.copy(),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=_STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    found, difference = status.ravel() > 0, difference.ravel()
    if found.any():  # light that changes makes all of them different
        found &= difference < max(_DIFFERENT, 2 * np.median(difference[found]))
    return there, found


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median over axis 1 of numbers that are not NaN, several times faster than
    ``np.nanmedian``.
    """
    ordered = np.sort(values, axis=1)  # NaN is last
    last = (~np.isnan(ordered)).sum(1, keepdims=True) - 1
    low, high = (np.take_along_axis(ordered, at, 1) for at in (last // 2, (last + 1) // 2))
    return ((low + high) / 2)[:, 0]
