"""Key-frame schedules: the decision which frames are key frames."""

from abc import ABC, abstractmethod

from mmdet.registry import TASK_UTILS

from semidff.inference.stream_state import StreamState
from semidff.models.key_frame import FlowField


class ScheduleError(ValueError):
    """An invalid setting of a schedule, or a file that is missing or no schedule's."""


class KeyFrameSchedule(ABC):
    """Decides, causally and frame by frame, which frames are key frames.

    A schedule is stateless: what it has to remember of a stream is in ``state.notes``. The first frame of a stream,
    the first frame of another size and the frame after a cut are always key frames, and all memory of a stream begins
    anew with them; :meth:`is_key` is not called for them.
    """

    inspects = False
    """Whether :meth:`rejects` has to be called with the flow field of each frame that is not a key frame so far."""

    @abstractmethod
    def is_key(self, state: StreamState, data: dict) -> bool:
        """Return whether the next frame of a stream is a key frame.

        Args:
            state: The stream before the frame; ``state.distance`` is the frame's distance to the last key frame.
            data: Collated test batch of the frame, before the data preprocessor.
        """

    def is_cut(self, state: StreamState, data: dict) -> bool:
        """Return whether the next frame begins another scene; called ahead of :meth:`is_key`, with its arguments."""
        return False

    def rejects(self, state: StreamState, flow_field: FlowField) -> bool:
        """Return whether a frame has to become a key frame after all, given its flow field (N = 1).

        The flow network has already run at this point, in vain if the frame becomes a key frame.
        """
        return False

    def note_key(self, state: StreamState, data: dict) -> None:  # noqa: B027 (optional)
        """Observe a key frame; called for every one, with the arguments of :meth:`is_key`."""


def build_schedule(schedule: KeyFrameSchedule | dict | int) -> KeyFrameSchedule:
    """Return a schedule, given as itself, as a config for ``TASK_UTILS``, or as the interval of a fixed one."""
    if isinstance(schedule, KeyFrameSchedule):
        return schedule
    if not isinstance(schedule, dict):
        schedule = dict(type='FixedSchedule', interval=schedule)
    return TASK_UTILS.build(schedule)


def schedule_config(
    key_interval: int, adaptive: str | None = None, scene_cuts: bool = False
) -> dict | None:
    """Return the config of a schedule from command-line options; None for a fixed interval.

    Args:
        key_interval: Key-frame interval; with ``adaptive``, the average one.
        adaptive: File of an :class:`~semidff.inference.AdaptiveSchedule`.
        scene_cuts: Whether frames after a scene cut become key frames, too.
    """
    config = None
    if adaptive:
        config = dict(type='AdaptiveSchedule', file=adaptive, interval=key_interval)
    if scene_cuts:
        config = dict(type='SceneCutSchedule', base=config or key_interval)
    return config
