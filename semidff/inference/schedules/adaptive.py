"""Adaptive key frames: a new one when propagation is about to fail (DFF section 6 leaves this to future work)."""

from mmdet.registry import TASK_UTILS

from semidff.inference.stream_state import StreamState
from semidff.models.video_detector import Forecast

from .base import KeyFrameSchedule, ScheduleError
from .error_predictor import ErrorPredictor

_NOTE = 'adaptive'


@TASK_UTILS.register_module()
class AdaptiveSchedule(KeyFrameSchedule):
    """A key frame after each frame whose propagated features were predicted to be too wrong.

    The prediction comes from what propagating a frame computes anyway. It decides about the *next* frame: the error
    grows steadily from frame to frame, so that little is lost, and no flow is ever computed in vain. Where it jumps,
    at a scene cut, :class:`SceneCutSchedule` around this one sees it in time.

    Args:
        file (str | ErrorPredictor): What ``tools/analysis/fit_adaptive.py`` wrote, or the predictor itself.
        interval (float | None): Wanted average key-frame interval; the file knows the tolerance for it.
        tolerance (float | None): Predicted relative feature error from which on the next frame is a key frame; one
            of ``interval`` and ``tolerance`` is to be given.
        max_interval (int | None): Longest interval; by default the one of the calibration.

    Raises:
        ScheduleError: If the file cannot be used, or the arguments make no sense.
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
                f'an adaptive schedule is given interval={interval} and tolerance={tolerance}; give one of them'
            )
        self.predictor = file if isinstance(file, ErrorPredictor) else ErrorPredictor.load(file)
        if tolerance is None:
            tolerance = self.predictor.tolerance_for(interval)
        self.tolerance = tolerance
        self.max_interval = max_interval or self.predictor.max_interval
        if self.tolerance <= 0 or self.max_interval < 1:
            raise ScheduleError(
                f'an adaptive schedule is given tolerance={tolerance} and max_interval={max_interval}; the first must '
                'be above 0, the second at least 1'
            )

    def is_key(self, state: StreamState, data: dict) -> bool:
        """See :class:`KeyFrameSchedule`."""
        return state.distance >= self.max_interval or state.notes.get(_NOTE, 0.0) >= self.tolerance

    def rejects(self, state: StreamState, forecast: Forecast) -> bool:
        """Never, but remembers what is predicted; see :class:`KeyFrameSchedule`."""
        self.note_error(state, float(self.predictor(forecast)))
        return False

    def note_error(self, state: StreamState, error: float) -> None:
        """Is told the predicted relative feature error of a frame that is propagated."""
        state.notes[_NOTE] = error

    def note_key(self, state: StreamState, data: dict) -> None:
        """See :class:`KeyFrameSchedule`."""
        state.notes.pop(_NOTE, None)
