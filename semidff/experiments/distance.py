"""Accuracy at each distance from the key frame, from tests with protocol ``pairs`` (DFF 5.2)."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass

from .table import Measurement

AT_DISTANCE = re.compile(r'.*/mAP_at/(\d+)')


@dataclass(frozen=True)
class DistanceLine:
    """mAP of a run at each distance.

    Attributes:
        row: The run's name.
        method: Its method.
        accuracies: mAP in [0, 1] at distances 0, 1, ... from the key frame, None where it is
            undefined; one value for *frame*.
    """

    row: str
    method: str
    accuracies: tuple[float | None, ...]

    @classmethod
    def of(cls, item: Measurement) -> DistanceLine:
        """Read the mAP at each distance from the metrics of a test.

        Raises:
            ValueError: If there is none.
        """
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
        defined = (None if v is None or math.isnan(v) else float(v) for v in values)
        return cls(item.row, item.method, tuple(defined))

    @property
    def mean(self) -> float | None:
        """Mean over the distances, which is the mAP at a key frame every l frames."""
        defined = [value for value in self.accuracies if value is not None]
        return statistics.fmean(defined) if defined else None
