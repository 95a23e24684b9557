"""Average key-frame interval of an adaptive schedule over the tolerated error."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from semidff.inference.stream_state import StreamState
from semidff.models.key_frame import FlowField

from .adaptive import AdaptiveSchedule
from .error_predictor import ErrorPredictor

_TOLERANCES = 25
_REACH = 0.4  # of a clip's length: longer intervals are truncated by the end of the clip


def calibrate(
    predictor: ErrorPredictor,
    temporal: nn.Module,
    clips: Iterable[Sequence[Tensor]],
    statistics: Tensor,
) -> ErrorPredictor:
    """Return a predictor with the average intervals at a range of tolerances.

    Args:
        temporal: Temporal module whose flow network is used.
        clips: Clips that the schedules run through, as inputs of the flow network.
        statistics: Statistics (P, 4) of pairs; quantiles of their predicted errors are the tolerances.
    """
    levels = torch.linspace(0, 1, _TOLERANCES - 1, dtype=torch.float64)
    predicted = predictor.of_statistics(statistics.double())
    tolerances = torch.cat([predicted.quantile(levels), 2 * predicted.max()[None]]).tolist()
    schedules = [AdaptiveSchedule(predictor, tolerance=tolerance) for tolerance in tolerances]
    keys, lengths = np.zeros(len(schedules), int), []
    for images in clips:

        @cache
        def error(key: int, current: int, images: Sequence[Tensor] = images) -> float:
            pair = images[key], images[current]
            return float(predictor(FlowField(*pair, *temporal.fields(*pair))))

        keys += [count_key_frames(schedule, len(images), error) for schedule in schedules]
        lengths.append(len(images))
    intervals = np.maximum.accumulate(sum(lengths) / keys)
    known = intervals <= max(_REACH * sum(lengths) / len(lengths), intervals[0])
    return replace(
        predictor,
        tolerances=tuple(np.array(tolerances)[known].tolist()),
        intervals=tuple(intervals[known].tolist()),
    )


def count_key_frames(
    schedule: AdaptiveSchedule, frames: int, errors: Callable[[int, int], float]
) -> int:
    """Return the number of key frames among ``frames``, from predicted errors alone.

    Args:
        errors: Maps the indices of a key frame and a current frame to the predicted error.
    """
    state, key, count = StreamState(), 0, 0
    for current in range(frames):
        if state.distance == 0 or schedule.is_key(state, {}):
            schedule.note_key(state, {})
            key, count = current, count + 1
            state.distance = 1
        else:
            schedule.note_error(state, errors(key, current))
            state.distance += 1
        state.index += 1
    return count
