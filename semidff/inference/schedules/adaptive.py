"""Adaptive key-frame schedule (left to future work in DFF section 6)."""

from mmdet.registry import TASK_UTILS
from torch import Tensor

from semidff.inference.stream_state import StreamState
from semidff.models.key_frame import FlowField

from .base import KeyFrameSchedule, ScheduleError
from .error_predictor import ErrorPredictor

_NOTE = 'adaptive'


@TASK_UTILS.register_module()
class AdaptiveSchedule(KeyFrameSchedule):
    """Schedule that makes the frame after one with a large predicted feature error a key frame.

    The error is predicted from the flow field that propagation computes anyway. It decides about the *next* frame, so
    that no flow is computed in vain; the error grows steadily, so that this costs little accuracy. For scene cuts,
    where the error jumps, wrap this schedule in a :class:`SceneCutSchedule`.

    Args:
        file: File written by ``tools/analysis/fit_adaptive.py``, or the error predictor itself.
        interval: Average key-frame interval; the predictor's calibration gives the tolerance.
        tolerance: Predicted relative feature error that makes the next frame a key frame. Exactly one of
            ``interval`` and ``tolerance`` is required.
        max_interval: Longest interval; None for that of the calibration.

    Raises:
        ScheduleError: If the file cannot be used, or an argument is missing or out of range.
    """

    inspects = True

    def __init__(
        self,
        file: str | ErrorPredictor,
        interval: float | None = None,
        tolerance: float | None = None,
        max_interval: int | None = None,
    ) -> None:
        if (interval is None) == (tolerance is None):
            raise ScheduleError(
                f'AdaptiveSchedule takes either interval or tolerance, got {interval=} and {tolerance=}'
            )
        self.predictor = file if isinstance(file, ErrorPredictor) else ErrorPredictor.load(file)
        if tolerance is None:
            tolerance = self.predictor.tolerance_for(interval)
        self.tolerance = tolerance
        self.max_interval = max_interval or self.predictor.max_interval
        if self.tolerance <= 0 or self.max_interval < 1:
            raise ScheduleError(
                f'AdaptiveSchedule needs tolerance > 0 and max_interval >= 1, got {tolerance=} and {max_interval=}'
            )

    def is_key(self, state: StreamState, data: dict) -> bool:
        error = float(state.notes.get(_NOTE, 0.0))
        return state.distance >= self.max_interval or error >= self.tolerance

    def rejects(self, state: StreamState, flow_field: FlowField) -> bool:
        """Note the predicted error and reject nothing."""
        # Without a conversion to float, which would wait for the GPU between flow and propagation.
        self.note_error(state, self.predictor(flow_field))
        return False

    def note_error(self, state: StreamState, error: float | Tensor) -> None:
        """Note the predicted relative feature error of a non-key frame, as a number or as a tensor with one element."""
        state.notes[_NOTE] = error

    def note_key(self, state: StreamState, data: dict) -> None:
        state.notes.pop(_NOTE, None)
