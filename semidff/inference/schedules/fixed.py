"""A key frame every l frames (DFF section 3)."""

from mmdet.registry import TASK_UTILS

from semidff.inference.stream_state import StreamState

from .base import KeyFrameSchedule, ScheduleError


@TASK_UTILS.register_module()
class FixedSchedule(KeyFrameSchedule):
    """A key frame every ``interval`` frames, counted from the last one.

    Args:
        interval (int): Key-frame duration l in frames; 1 makes every frame a key frame.
        first (int | None): Frames from the stream's first key frame to its second, where that differs. On few or
            short videos accuracy depends on which frames happen to be key frames; a mean over some values up to
            ``interval`` depends on it less.

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
        """See :class:`KeyFrameSchedule`."""
        still_the_first = state.distance == state.index
        return state.distance >= (self.first if still_the_first else self.interval)
