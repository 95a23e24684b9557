"""Accuracy at each distance from the key frame, out of tests with protocol ``pairs`` (DFF 5.2)."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .settings import ExperimentError
from .table import Measurement

if TYPE_CHECKING:
    from .curve import Run

AT_DISTANCE = re.compile(r'.*/mAP_at/(\d+)')


@dataclass(frozen=True)
class DistanceLine:
    """mAP of a run at each distance.

    Attributes:
        row: The run's name.
        method: Its method.
        accuracies: mAP in [0, 1] at distances 0, 1, ... from the key frame, None where it is undefined;
            one value for *frame*.
    """

    row: str
    method: str
    accuracies: tuple[float | None, ...]

    @property
    def mean(self) -> float | None:
        """Mean over the distances, which is mAP at a key frame every l frames."""
        defined = [value for value in self.accuracies if value is not None]
        return statistics.fmean(defined) if defined else None

    def as_json(self) -> dict:
        """The line for a file; undefined values are null."""
        return dict(row=self.row, method=self.method, mAP_at=list(self.accuracies), mean=self.mean)


def check_pairwise(runs: Sequence[Run], pairwise: Collection[str]) -> None:
    """Checks that every run's method can be tested at each distance.

    Args:
        runs: The runs.
        pairwise: Methods whose results follow from key frame and current frame alone.

    Raises:
        ExperimentError: If one's cannot; the text names it.
    """
    for run in runs:
        if run.method not in pairwise:
            raise ExperimentError(
                f'run {run.name!r}: method {run.method!r} is unknown, or depends on more than the key frame and the '
                f'current frame, so that it has no accuracy at a distance; choose one of {", ".join(pairwise)}.'
            )


def distance_lines(measurements: Iterable[Measurement]) -> list[DistanceLine]:
    """Reads the mAP at each distance out of tests' metrics.

    Raises:
        ValueError: If a test has none.
    """
    return [DistanceLine(item.row, item.method, _accuracies(item)) for item in measurements]


def _accuracies(item: Measurement) -> tuple[float | None, ...]:
    found = {
        int(match[1]): value
        for key, value in item.metrics.items()
        if (match := AT_DISTANCE.fullmatch(key))
    }
    if not found:
        raise ValueError(
            f'row {item.row!r} has no mAP at distances (vid/mAP_at/0, ...); its metrics are '
            f"{sorted(item.metrics)}. Is VIDMetric the config's test_evaluator?"
        )
    values = [found[distance] for distance in sorted(found)]
    return tuple(None if v is None or math.isnan(v) else float(v) for v in values)
