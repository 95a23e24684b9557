"""Key frames at scene cuts, across which features cannot be propagated."""

import torch
import torch.nn.functional as F
from mmdet.registry import TASK_UTILS
from torch import Tensor

from semidff.inference.stream_state import StreamState
from semidff.utils.frame_size import frame_size

from .base import KeyFrameSchedule, ScheduleError, build_schedule

_NOTE = 'scene_cuts'
_SAMPLES = 48  # sampled pixels along the shorter side
_GRID = 8  # cells of the thumbnail along each side
_BITS = 2  # per color channel of the histogram


@TASK_UTILS.register_module()
class SceneCutSchedule(KeyFrameSchedule):
    """Schedule that adds a key frame at each scene cut to those of another schedule.

    Consecutive frames are compared by :func:`scene_change`, which takes a fraction of a millisecond and no network,
    so that the schedule works with every method. Nothing is propagated, interpolated or linked across a cut.

    Args:
        base: The other schedule, its config, or a fixed interval.
        threshold: Least change that counts as a cut, in (0, 1]. Measured: at most 0.06 between consecutive frames of
            the synthetic videos, with their fast camera, and of street scenes; at least 0.32 between frames of
            different videos.

    Raises:
        ScheduleError: If the threshold is not in (0, 1].
    """

    def __init__(self, base: KeyFrameSchedule | dict | int = 10, threshold: float = 0.2) -> None:
        if not 0 < threshold <= 1:
            raise ScheduleError(f'the scene-cut threshold is {threshold!r}; it must be in (0, 1]')
        self.base = build_schedule(base)
        self.inspects, self.rejects = self.base.inspects, self.base.rejects
        self.threshold = threshold

    def is_cut(self, state: StreamState, data: dict) -> bool:
        before, state.notes[_NOTE] = state.notes.get(_NOTE), _signature(data)
        return before is not None and scene_change(before, state.notes[_NOTE]) >= self.threshold

    def is_key(self, state: StreamState, data: dict) -> bool:
        return self.base.is_key(state, data)

    def note_key(self, state: StreamState, data: dict) -> None:
        if state.distance == 0:  # is_cut was not called, or what it noted is forgotten
            state.notes[_NOTE] = _signature(data)
        self.base.note_key(state, data)


def _signature(data: dict) -> tuple[Tensor, Tensor]:
    """Return the signature of a frame without its padding, which would make all frames alike."""
    height, width = frame_size(data['data_samples'][0])
    return frame_signature(data['inputs'][0][:, :height, :width])


def frame_signature(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Return a thumbnail (3, 8, 8) and a normalized histogram of 64 colors (64,) of a frame (3, H, W), 0 to 255."""
    step = max(1, min(frame.shape[-2:]) // _SAMPLES)
    pixels = frame[:, ::step, ::step]
    thumbnail = F.adaptive_avg_pool2d(pixels.float(), _GRID)
    levels = (pixels.to(torch.uint8) >> (8 - _BITS)).long()
    codes = (levels[0] << 2 * _BITS) | (levels[1] << _BITS) | levels[2]
    histogram = torch.bincount(codes.flatten(), minlength=1 << 3 * _BITS).float()
    return thumbnail, histogram / codes.numel()


def scene_change(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> float:
    """Return the scene change between two frames, 0 to 1, from their :func:`frame_signature`.

    It is the geometric mean of the histograms' distance, which camera motion hardly affects, and of one minus the
    correlation of the thumbnails, which lighting hardly affects. A cut changes both.
    """
    colors = 0.5 * (before[1] - after[1]).abs().sum()
    first, second = (thumbnail - thumbnail.mean() for thumbnail, _ in (before, after))
    norms = (first.norm() * second.norm()).clamp(min=1e-6)
    layout = (1 - (first * second).sum() / norms).clamp(0, 1)
    return float((colors * layout).sqrt())
