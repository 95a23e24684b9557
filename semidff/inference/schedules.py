"""Which frames are key frames (DFF 3: a fixed interval l)."""

from typing import Protocol


class KeyFrameSchedule(Protocol):
    """Decides, frame by frame and causally, where the feature network runs."""

    def is_key(self, index: int, data: dict) -> bool:
        """Whether a frame is a key frame.

        Args:
            index (int): Position in the video, from 0.  Position 0 has to be a key frame.
            data (dict): The collated test batch with this one frame, not yet preprocessed.
        """
        ...


class FixedSchedule:
    """A key frame every ``interval`` frames, beginning with frame 0 of each video.

    Args:
        interval (int): Key-frame duration l in frames; 1 makes every frame a key frame.

    Raises:
        ValueError: If ``interval`` is not an integer of at least 1.
    """

    def __init__(self, interval: int) -> None:
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(
                f'the key-frame interval is {interval!r}; it must be an integer >= 1 (frames from '
                'one key frame to the next)'
            )
        self.interval = interval

    def is_key(self, index: int, data: dict) -> bool:
        """See :class:`KeyFrameSchedule`."""
        return index % self.interval == 0
