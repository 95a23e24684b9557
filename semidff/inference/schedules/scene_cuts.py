"""Key frames at scene cuts: features of another scene are of no use, whatever the flow network makes of them."""

import torch
import torch.nn.functional as F
from mmdet.registry import TASK_UTILS
from torch import Tensor

from semidff.inference.stream_state import StreamState
from semidff.models.video_detector import Forecast

from .base import KeyFrameSchedule, ScheduleError, build_schedule

_NOTE = 'scene_cuts'
_SAMPLES = 48  # pixels that are looked at along the shorter side
_GRID = 8  # cells of the thumbnail along each side
_BITS = 2  # of each color in the histogram


@TASK_UTILS.register_module()
class SceneCutSchedule(KeyFrameSchedule):
    """Another schedule's key frames, and one at each scene cut.

    A cut changes both the colors and where they are: each frame is compared with the one before by
    :func:`scene_change`. It costs a fraction of a millisecond, is causal, and needs no network, so that it goes with
    every method.

    Args:
        base (KeyFrameSchedule | dict | int): The other schedule, its config, or a fixed interval.
        threshold (float): Change from which on it is a cut, in (0, 1]. Measured: at most 0.06 between neighboring
            frames of the quick start's world, fast camera and all, and of street scenes; at least 0.32 between frames
            of different videos.

    Raises:
        ScheduleError: If the threshold is not in (0, 1].
    """

    def __init__(self, base: KeyFrameSchedule | dict | int = 10, threshold: float = 0.2) -> None:
        if not 0 < threshold <= 1:
            raise ScheduleError(f'the scene-cut threshold is {threshold!r}; it must be in (0, 1]')
        self.base = build_schedule(base)
        self.threshold = threshold

    @property
    def inspects(self) -> bool:
        """Whether the other schedule wants to see forecasts."""
        return self.base.inspects

    def is_key(self, state: StreamState, data: dict) -> bool:
        """See :class:`KeyFrameSchedule`."""
        before, state.notes[_NOTE] = state.notes.get(_NOTE), frame_signature(data['inputs'][0])
        is_cut = before is not None and scene_change(before, state.notes[_NOTE]) >= self.threshold
        return is_cut or self.base.is_key(state, data)

    def rejects(self, state: StreamState, forecast: Forecast) -> bool:
        """See :class:`KeyFrameSchedule`."""
        return self.base.rejects(state, forecast)

    def note_key(self, state: StreamState, data: dict) -> None:
        """See :class:`KeyFrameSchedule`."""
        if state.distance == 0:  # the only frames that nobody asked about
            state.notes[_NOTE] = frame_signature(data['inputs'][0])
        self.base.note_key(state, data)


def frame_signature(frame: Tensor) -> tuple[Tensor, Tensor]:
    """What is remembered of a frame (3, H, W) uint8 to tell a cut.

    Returns:
        tuple[Tensor, Tensor]: A thumbnail (3, 8, 8) and a histogram of 64 colors, (64,), whose sum is 1.
    """
    step = max(1, min(frame.shape[-2:]) // _SAMPLES)
    pixels = frame[:, ::step, ::step]
    thumbnail = F.adaptive_avg_pool2d(pixels.float(), _GRID)
    levels = (pixels >> (8 - _BITS)).long()
    codes = (levels[0] << 2 * _BITS) | (levels[1] << _BITS) | levels[2]
    histogram = torch.bincount(codes.flatten(), minlength=1 << 3 * _BITS).float()
    return thumbnail, histogram / codes.numel()


def scene_change(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> float:
    """How much of another scene a frame shows than the one before, 0 to 1.

    The geometric mean of two changes: of the share of pixels that have other colors (which a moving camera hardly
    changes) and of how little the thumbnails correlate (which other light hardly changes).

    Args:
        before: Signature of the earlier frame.
        after: Signature of the later frame.
    """
    other_colors = 0.5 * (before[1] - after[1]).abs().sum()
    first, second = (thumbnail - thumbnail.mean() for thumbnail, _ in (before, after))
    norms = (first.norm() * second.norm()).clamp(min=1e-6)
    other_places = (1 - (first * second).sum() / norms).clamp(0, 1)
    return float((other_colors * other_places).sqrt())
