"""Key-frame schedules: which frames are key frames."""

from abc import ABC, abstractmethod

from mmdet.registry import TASK_UTILS

from semidff.inference.stream_state import StreamState
from semidff.models.video_detector import Forecast


class ScheduleError(ValueError):
    """A schedule that cannot be followed: a bad setting, or a file that is missing or of something else."""


class KeyFrameSchedule(ABC):
    """Decides, frame by frame and causally, where the feature network runs.

    A schedule remembers nothing of its own: what it has to know of a stream is in ``state.notes``. A stream's first
    frame, and the first one of another size, are key frames without its being asked.
    """

    inspects = False
    """Whether it wants to see forecasts; then :meth:`rejects` is asked too."""

    @abstractmethod
    def is_key(self, state: StreamState, data: dict) -> bool:
        """Whether the next frame of a stream is a key frame.

        Args:
            state (StreamState): The stream before the frame; ``state.distance`` is how far away the key frame is.
            data (dict): The collated test batch with this one frame, not yet preprocessed.
        """

    def rejects(self, state: StreamState, forecast: Forecast) -> bool:
        """Whether a frame shall be a key frame after all, seen what propagation would do to it.

        The flow network has run then, in vain if the answer is yes.

        Args:
            state (StreamState): The stream before the frame.
            forecast (Forecast): Of this one frame (N = 1).
        """
        return False

    def note_key(self, state: StreamState, data: dict) -> None:  # noqa: B027 (most have nothing to note)
        """Is told of each key frame, whoever decided.

        Args:
            state (StreamState): The stream before the frame.
            data (dict): As in :meth:`is_key`.
        """


def build_schedule(schedule: 'KeyFrameSchedule | dict | int') -> KeyFrameSchedule:
    """The schedule that somebody names.

    Args:
        schedule (KeyFrameSchedule | dict | int): A schedule, its config (``type`` of the registry ``TASK_UTILS``),
            or the interval of a fixed one.
    """
    if isinstance(schedule, KeyFrameSchedule):
        return schedule
    config = (
        schedule if isinstance(schedule, dict) else dict(type='FixedSchedule', interval=schedule)
    )
    return TASK_UTILS.build(config)


def schedule_config(
    key_interval: int, adaptive: str | None = None, scene_cuts: bool = False
) -> dict | None:
    """Config of a schedule, from what a command line says.

    Args:
        key_interval (int): Interval; with ``adaptive``, the average one.
        adaptive (str | None): File of an :class:`~semidff.inference.AdaptiveSchedule`.
        scene_cuts (bool): Whether scene cuts become key frames, too.

    Returns:
        dict | None: None for the fixed interval alone.
    """
    config = None
    if adaptive:
        config = dict(type='AdaptiveSchedule', file=adaptive, interval=key_interval)
    if scene_cuts:
        config = dict(type='SceneCutSchedule', base=config or key_interval)
    return config
