"""Average key-frame interval of an adaptive schedule over the tolerated error."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from semidff.inference.stream_state import StreamState
from semidff.models.video_detector import FlowField, VideoDetector

from .adaptive import AdaptiveSchedule
from .base import KeyFrameSchedule
from .clips import Clip, Clips
from .error_predictor import ErrorPredictor

_TOLERANCES = 25
_REACH = 0.4  # of a clip's length: longer intervals are truncated by the end of the clip


def calibrate(
    predictor: ErrorPredictor,
    model: VideoDetector,
    clips: Clips,
    statistics: Tensor,
    tell: Callable[[str], None],
) -> ErrorPredictor:
    """Return a predictor with the average intervals at a range of tolerances.

    Args:
        predictor: The fitted error predictor.
        model: Video detector whose flow network is used.
        clips: Clips that the schedules run through.
        statistics: Statistics (P, 4) of pairs; quantiles of their predicted errors are the tolerances.
        tell: Called with a line of text after each clip.
    """
    levels = torch.linspace(0, 1, _TOLERANCES - 1, dtype=torch.float64)
    predicted = predictor.of_statistics(statistics.double())
    tolerances = torch.cat([predicted.quantile(levels), 2 * predicted.max()[None]]).tolist()
    schedules = [AdaptiveSchedule(predictor, tolerance=tolerance) for tolerance in tolerances]
    keys, frames = np.zeros(len(schedules), int), 0
    for number, clip in enumerate(clips):
        errors = _Errors(predictor, model, clip)
        keys += [len(set(keys_of_frames(s, len(clip), errors))) for s in schedules]
        frames += len(clip)
        tell(f'calibration: clip {number + 1} of {len(clips.videos)}')
    intervals = np.maximum.accumulate(frames / keys)
    known = intervals <= max(_REACH * frames / (number + 1), intervals[0])
    return replace(
        predictor,
        tolerances=tuple(np.array(tolerances)[known].tolist()),
        intervals=tuple(intervals[known].tolist()),
    )


class _Errors:
    """Predicted error of each pair of a clip, computed once."""

    def __init__(self, predictor: ErrorPredictor, model: VideoDetector, clip: Clip) -> None:
        self._predictor, self._model = predictor, model
        self._images = [model.temporal.prepare(clip[index]) for index in range(len(clip))]
        self._known: dict[tuple[int, int], float] = {}

    def __call__(self, key: int, current: int) -> float:
        if (key, current) not in self._known:
            images = self._images[key], self._images[current]
            flow_field = FlowField(*images, *self._model.temporal.flow_and_scale(*images))
            self._known[key, current] = float(self._predictor(flow_field))
        return self._known[key, current]


def keys_of_frames(
    schedule: KeyFrameSchedule, frames: int, errors: Callable[[int, int], float]
) -> list[int]:
    """Return the index of each frame's key frame, from predicted errors alone.

    Args:
        schedule: Adaptive, or a schedule that does not read the frames, such as the fixed one.
        frames: Length of the video.
        errors: Maps the indices of a key frame and a current frame to the predicted error.

    Returns:
        One index per frame; a key frame's is its own.
    """
    state, keys = StreamState(), []
    for current in range(frames):
        if state.distance == 0 or schedule.is_key(state, {}):
            schedule.note_key(state, {})
            keys.append(current)
            state.distance = 1
        else:
            keys.append(keys[-1])
            if isinstance(schedule, AdaptiveSchedule):
                schedule.note_error(state, errors(keys[-1], current))
            state.distance += 1
        state.index += 1
    return keys
