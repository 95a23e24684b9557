"""Fixed key-frame interval (DFF section 3)."""

from mmdet.registry import TASK_UTILS

from semidff.inference.stream_state import StreamState

from .base import KeyFrameSchedule, ScheduleError


@TASK_UTILS.register_module()
class FixedSchedule(KeyFrameSchedule):
    """Schedule with a key frame ``interval`` frames after the last one.

    Args:
        interval: Key-frame interval l in frames; with 1, every frame is a key frame.
        first: Frames from the first key frame of a stream to the second; None for ``interval``. On few or short
            videos, the accuracy depends on which frames are key frames; averaging over several values of ``first``
            reduces this variance.

    Raises:
        ScheduleError: If one of them is not an integer of at least 1.
    """

    def __init__(self, interval: int, first: int | None = None) -> None:
        first = interval if first is None else first
        for name, number in (('key-frame interval', interval), ('first key-frame interval', first)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ScheduleError(
                    f'the {name} is {number!r}; it must be an integer >= 1 (frames from one key '
                    'frame to the next)'
                )
        self.interval, self.first = interval, first

    def is_key(self, state: StreamState, data: dict) -> bool:
        in_first_interval = state.distance == state.index
        return state.distance >= (self.first if in_first_interval else self.interval)
