"""Uneven motion: velocities that jump, stop and start again, and a hand-held camera.

With constant velocities, interpolating boxes between two key frames is nearly perfect, and a video
cannot evaluate feature propagation. Every velocity therefore follows a target that is drawn again
after a random, short time.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Pace:
    """Limits of the motion in a clip; lengths in pixels, times in frames, angles in degrees.

    Attributes:
        speed: Largest speed of an object per frame.
        gap: Shortest and longest time between two changes of an object's velocity.
        spin: Largest turn per frame.
        zoom: Largest relative change of size per frame.
        pan: Largest steady movement of the camera per frame.
        shake: Strength of the random accelerations of a hand-held camera.
        jerk: Largest sudden push of the camera per frame.
        jerk_rate: Probability of such a push per frame.
        roll: Strength of the random turns of the camera.
        range: Range of the random factor that multiplies all movements of a clip.
    """

    speed: float
    gap: tuple[int, int]
    spin: float
    zoom: float
    pan: float
    shake: float
    jerk: float
    jerk_rate: float
    roll: float
    range: tuple[float, float]

    def scaled(self, factor: float, shake: float = 1.0) -> 'Pace':
        """Multiply all movements, and the shake and roll of the camera by a further factor."""
        factors = dict.fromkeys(('speed', 'spin', 'zoom', 'pan', 'jerk'), factor)
        factors |= dict.fromkeys(('shake', 'roll'), factor * shake)
        return replace(self, **{name: getattr(self, name) * by for name, by in factors.items()})


PACES = {
    'slow': Pace(4.5, (4, 12), 3.5, 0.015, 1.2, 0.5, 2.5, 0.06, 0.05, (0.1, 1.1)),
    'fast': Pace(12.0, (4, 9), 8.0, 0.035, 2.0, 1.3, 7.0, 0.12, 0.12, (0.7, 1.2)),
}


def uneven_rates(
    rng: np.random.Generator, length: int, limit: float, gap: tuple[int, int]
) -> np.ndarray:
    """Draw (length,) rates within +-`limit` that follow a target redrawn every `gap` frames."""
    rates = np.zeros(length)
    rate = target = rng.uniform(-limit, limit)
    change, response = int(rng.integers(0, gap[1])), 0.5
    for t in range(length):
        if t == change:
            target = 0.0 if rng.random() < 0.2 else rng.uniform(-limit, limit)
            response = rng.uniform(0.35, 0.9)
            change += int(rng.integers(gap[0], gap[1] + 1))
        rate += response * (target - rate)
        rates[t] = rate
    return rates


def camera_path(rng: np.random.Generator, length: int, pace: Pace) -> np.ndarray:
    """Draw the camera's x, y in pixels and its roll in radians, starting near 0: (length, 3)."""
    pan_limit = pace.pan * rng.uniform(0, 1)
    pan = np.stack(
        [uneven_rates(rng, length, pan_limit, (6, 20)) for _ in range(2)], axis=1
    ) / np.sqrt(2)
    place = np.cumsum(pan, axis=0)
    hand = np.zeros((length, 3))
    offset, speed = np.zeros(3), np.zeros(3)
    strength = np.array([pace.shake, pace.shake, np.deg2rad(pace.roll)]) * rng.uniform(0.2, 1.2)
    for t in range(length):
        # A weak spring with a period of about ten frames pulls the camera back.
        speed += rng.normal(0, 1, 3) * strength - 0.35 * offset - 0.25 * speed
        if rng.random() < pace.jerk_rate:
            direction = rng.uniform(0, 2 * np.pi)
            speed[:2] += (
                rng.uniform(0.4, 1) * pace.jerk * np.array([np.cos(direction), np.sin(direction)])
            )
        offset = offset + speed
        hand[t] = offset
    hand[:, :2] += place
    return hand


def object_path(
    rng: np.random.Generator, view: np.ndarray, size: tuple[int, int], pace: Pace
) -> np.ndarray:
    """Draw the path of an object's center through the scene.

    Args:
        view: (length, 2) top left corner of the camera's view in scene coordinates at every frame.
        size: Height and width of the view.

    Returns:
        (length, 2) x, y in scene coordinates. An object outside the view heads for it at its next
        change of velocity, so objects leave and enter.
    """
    extent = np.array([size[1], size[0]], float)
    top = pace.speed * rng.uniform(0.35, 1)
    position = view[0] + extent * rng.uniform(0, 1, 2)
    heading = rng.uniform(0, 2 * np.pi)
    velocity = target = top * rng.uniform(0.3, 1) * np.array([np.cos(heading), np.sin(heading)])
    change, response = int(rng.integers(0, pace.gap[1])), 0.5
    path = np.zeros((len(view), 2))
    for t in range(len(view)):
        path[t] = position
        if t == change:
            inside, margin = position - view[t], 0.2 * extent
            if np.any(inside < margin) or np.any(inside > extent - margin):
                aim = extent * rng.uniform(0.25, 0.75, 2) - inside
                heading = np.arctan2(aim[1], aim[0])
            else:
                heading += rng.normal(0, 1.8)
            speed = 0.0 if rng.random() < 0.15 else top * rng.uniform(0.4, 1)
            target = speed * np.array([np.cos(heading), np.sin(heading)])
            response = rng.uniform(0.35, 0.95)
            change += int(rng.integers(pace.gap[0], pace.gap[1] + 1))
        velocity = velocity + response * (target - velocity)
        position = position + velocity
    return path
