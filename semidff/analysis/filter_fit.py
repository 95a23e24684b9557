"""Fit of the filter's constants to a detector and its videos, without labels."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from semidff.evaluation.metrics import MIN_SCORE, agreement
from semidff.filter import FilterConstants
from semidff.utils.threads import default_workers
from semidff.utils.worker_pool import pool_map

from .reference import unseen
from .runs import OperatingPoint, Run, runs_of

CONSTANTS = [FilterConstants(*pair) for pair in product((6.0, 2.0, 18.0), (0.85, 0.7, 0.95))]
"""What is compared; the first are the defaults."""

TRACKED = OperatingPoint('track', 10).completed()
"""What depends on the constants most."""


def runs_to_fit() -> list[Run]:
    """Return runs of :data:`TRACKED` with all constants."""
    return [run for one in CONSTANTS for run in runs_of(TRACKED, None, 1, one)]


def fit_filter(dense: Run, tracked: Sequence[Run]) -> FilterConstants:
    """Return the constants of the run that agrees best with the dense detector's boxes where it has not seen them."""

    def value(run: Run) -> float:
        truth, found = unseen(run, dense.detections(), run.detections())
        sure = (truth.scores >= MIN_SCORE).any()
        return agreement(truth, found, len(np.concatenate(run.seen)))['AP'] if sure else 0.0

    return tracked[int(np.argmax([*pool_map(value, tracked, default_workers())]))].constants
