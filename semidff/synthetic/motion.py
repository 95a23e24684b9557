"""Uneven motion of objects and of a hand-held camera.

With constant velocities, interpolating boxes between two key frames is nearly perfect, and a video
cannot evaluate feature propagation. Every velocity therefore changes at random, short intervals.
"""

import numpy as np


def uneven(
    rng: np.random.Generator, length: int, gap: tuple[int, int], low: float = -1, high: float = 1
) -> np.ndarray:
    """Draw (length,) values between `low` and `high`, linear between knots that are `gap` apart."""
    steps = rng.integers(gap[0], gap[1] + 1, length // gap[0] + 2)
    knots = np.cumsum(steps) - rng.integers(0, gap[1] + 1)
    return np.interp(np.arange(length), knots, rng.uniform(low, high, len(knots)))


def camera_path(
    rng: np.random.Generator, length: int, motion: float, followed: np.ndarray
) -> np.ndarray:
    """Draw the camera's x, y in pixels, its roll in radians and the logarithm of its zoom.

    A third of the cameras stand still, a third pan, a third follow an object; all but the first
    are held in a hand.

    Args:
        motion: Factor on all movements.
        followed: (length, 2) path of the object.

    Returns:
        (length, 4).
    """
    path, kind = np.zeros((length, 4)), rng.random()
    if kind < 0.3:
        return path
    time = np.arange(length)[:, None]
    periods, phases = rng.uniform(5, 50, (4, 6)), rng.uniform(0, 2 * np.pi, (4, 6))
    shake = np.sin(2 * np.pi * time[..., None] / periods + phases) * periods / 30
    strength = motion * np.exp(rng.uniform(-1, 1)) * np.array([2.5, 2.5, 0.006, 0.003])
    path += shake.sum(-1) * strength
    pans = [uneven(rng, length, (8, 30)) * motion * rng.uniform(0, 3) for _ in range(2)]
    if kind < 0.65:
        path[:, :2] += np.cumsum(np.stack(pans, axis=1) * (1, 0.4), axis=0)
    else:
        lag = np.exp(-np.arange(length) / rng.uniform(1, 8))
        smooth = [np.convolve(np.pad(p, (length, 0), 'edge'), lag / lag.sum())[length : 2 * length]
                  for p in followed.T]  # fmt: skip
        path[:, :2] += np.stack(smooth, axis=1) - followed[:1]
    path[:, 3] += np.cumsum(uneven(rng, length, (10, 30))) * motion * rng.uniform(0, 0.006)
    return path


def object_path(rng: np.random.Generator, length: int, speed: float, climb: float) -> np.ndarray:
    """Draw the path of an object relative to where it is at a random time, (length, 2) in pixels.

    Args:
        speed: Largest movement per frame in pixels.
        climb: Largest slope of the path.
    """
    side = rng.choice([-1, 1]) * (
        1 if rng.random() < 0.7 else np.sign(uneven(rng, length, (9, 30)))
    )
    pace = np.clip(uneven(rng, length, (3, 11), -0.3, 1.3), 0, 1) * speed
    slope = uneven(rng, length, (6, 20)) * climb
    path = np.cumsum(np.stack([side * pace, slope * pace], axis=1), axis=0)
    return path - path[rng.integers(length)]
