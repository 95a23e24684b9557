"""Which step may start, and how long what is left will take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from .step import Step


def may_start(step: Step, finished: Collection[str], running: Collection[Step], jobs: int) -> bool:
    """Whether a step can start beside the running ones.

    Args:
        step: A step that has not started.
        finished: Names of the steps that are done.
        running: The steps that run now.
        jobs: How many may run at the same time.
    """
    if len(running) >= jobs or any(other.alone for other in running):
        return False
    if step.alone and running:
        return False
    return all(need in finished for need in step.needs)


def seconds_left(
    waiting: Sequence[Step],
    finished: Collection[str],
    running: Mapping[str, tuple[Step, float]],
    jobs: int,
    pace: float = 1.0,
) -> float:
    """Plays the rest of the chain through with the expected durations.

    Args:
        waiting: The steps that have not started, in the chain's order.
        finished: Names of the steps that are done.
        running: Of each running step by its name: the step and the seconds it still needs.
        jobs: How many may run at the same time.
        pace: By how much steps have taken longer than ``minutes`` says.

    Returns:
        Seconds until the last step ends.
    """
    finished, waiting, active = set(finished), list(waiting), dict(running)
    total = 0.0
    while waiting or active:
        for step in list(waiting):
            if may_start(step, finished, [other for other, _ in active.values()], jobs):
                active[step.name] = (step, 60 * step.minutes * pace)
                waiting.remove(step)
        if not active:
            raise ValueError(
                f'steps {[step.name for step in waiting]} wait for steps that never run'
            )
        passed = min(left for _, left in active.values())
        total += passed
        finished |= {name for name, (_, left) in active.items() if left <= passed}
        active = {n: (step, left - passed) for n, (step, left) in active.items() if left > passed}
    return total


def expected_seconds(
    step: Step, elapsed: float, fraction: float | None, pace: float = 1.0
) -> float:
    """How long a running step will have taken in all.

    The first minutes say little (data is read, memory warms up), so the config's estimate counts
    until a fifth is done, less and less.

    Args:
        step: The running step.
        elapsed: Seconds since its start.
        fraction: Its own account of how much is done, in [0, 1]; None if it gives none.
        pace: By how much steps have taken longer than ``minutes`` says.
    """
    guess = max(60 * step.minutes * pace, 1.05 * elapsed)
    if not fraction:
        return guess
    trust = min(1.0, fraction / 0.2)
    return max((1 - trust) * guess + trust * elapsed / fraction, elapsed)
