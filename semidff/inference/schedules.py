"""Key-frame schedules, registered in ``TASK_UTILS``: the decision which frames are key frames."""

import torch
import torch.nn.functional as F
from mmdet.registry import TASK_UTILS
from torch import Tensor

from semidff.datasets.video_readers import Frame
from semidff.utils.frame_size import frame_size

from .schedule import KeyFrameSchedule

_SAMPLES = 48  # sampled pixels along the shorter side
_GRID = 8  # cells of the thumbnail along each side
_BITS = 2  # per color channel of the histogram
_LEAST_BRIGHT, _DARKEST = 128, 48  # 99th percentile to which darker frames are raised, and least


class ScheduleError(ValueError):
    """An invalid setting of a schedule."""


def build_schedule(schedule: KeyFrameSchedule | dict | int) -> KeyFrameSchedule:
    """Return a schedule, given as itself, as a config for ``TASK_UTILS``, or as the interval of a
    fixed one.
    """
    if isinstance(schedule, KeyFrameSchedule):
        return schedule
    if not isinstance(schedule, dict):
        schedule = dict(type='FixedSchedule', interval=schedule)
    return TASK_UTILS.build(schedule)


@TASK_UTILS.register_module()
class FixedSchedule(KeyFrameSchedule):
    """Schedule with a key frame ``interval`` frames after the last one (DFF section 3).

    Args:
        interval: Key-frame interval l in frames; with 1, every frame is a key frame.
        first: Frames from the first key frame of a stream to the second; None for ``interval``. On
            few or short videos, the accuracy depends on which frames are key frames; averaging over
            several values of ``first`` reduces this variance.
    """

    def __init__(self, interval: int, first: int | None = None) -> None:
        first = interval if first is None else first
        for name, number in (('key-frame interval', interval), ('first key-frame interval', first)):
            if number != int(number) or number < 1:
                raise ScheduleError(f'the {name} is {number!r}; it must be an integer >= 1')
        self.interval, self.first = int(interval), int(first)
        self.longest = max(self.interval, self.first)

    def is_key(self, frame: Frame, distance: int) -> bool:
        return distance >= (self.first if distance == frame.number else self.interval)


@TASK_UTILS.register_module()
class SceneCutSchedule(KeyFrameSchedule):
    """Schedule that adds a key frame at each scene cut to those of another schedule.

    Consecutive frames are compared by :func:`scene_change`, which takes a fraction of a millisecond
    and no network, so that the schedule works with every method. Nothing is propagated,
    interpolated or linked across a cut.

    Args:
        base: The other schedule, its config, or a fixed interval.
        threshold: Least change that counts as a cut, in (0, 1]. Measured on ten real videos: at
            most 0.06 between consecutive frames, at least 0.36 between frames of different videos;
            at night (levels of 4 to 58) at most 0.18 and at least 0.24.
    """

    def __init__(self, base: KeyFrameSchedule | dict | int = 10, threshold: float = 0.2) -> None:
        self.base = build_schedule(base)
        self.longest = self.base.longest
        self.threshold = threshold
        self._signature: tuple[Tensor, Tensor] | None = None  # of the last frame

    def is_cut(self, frame: Frame) -> bool:
        before, self._signature = self._signature, frame_signature(frame)
        return before is not None and scene_change(before, self._signature) >= self.threshold

    def is_key(self, frame: Frame, distance: int) -> bool:
        return self.base.is_key(frame, distance)

    def note_key(self, frame: Frame) -> None:
        if frame.begins_scene:  # is_cut was not called if something else begins it
            self._signature = frame_signature(frame)
        self.base.note_key(frame)


def frame_signature(frame: Frame) -> tuple[Tensor, Tensor]:
    """Return a thumbnail (3, 8, 8) and a normalized histogram of 64 colors (64,) of a frame's
    network input.

    Padding, which would make all frames alike, is left out.
    """
    height, width = frame_size(frame.sample)
    image = frame.inputs[:, :height, :width]  # 0 to 255
    step = max(1, min(image.shape[-2:]) // _SAMPLES)
    pixels = image[:, ::step, ::step].float()
    thumbnail = F.adaptive_avg_pool2d(pixels, _GRID)
    # All of a night scene would be in the lowest level.
    bright = pixels.flatten().kthvalue(max(1, int(0.99 * pixels.numel())))[0]
    gain = (_LEAST_BRIGHT / bright.clamp(min=_DARKEST)).clamp(min=1)
    levels = (pixels * gain).clamp(0, 255).to(torch.uint8).long() >> (8 - _BITS)
    codes = (levels[0] << 2 * _BITS) | (levels[1] << _BITS) | levels[2]
    histogram = torch.bincount(codes.flatten(), minlength=1 << 3 * _BITS).float()
    return thumbnail, histogram / codes.numel()


def scene_change(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> float:
    """Return the scene change between two frames, 0 to 1, from their :func:`frame_signature`.

    It is the geometric mean of the histograms' distance, which camera motion hardly affects, and of
    one minus the correlation of the thumbnails, which lighting hardly affects. A cut changes both.
    """
    colors = 0.5 * (before[1] - after[1]).abs().sum()
    first, second = (thumbnail - thumbnail.mean() for thumbnail, _ in (before, after))
    norms = (first.norm() * second.norm()).clamp(min=1e-6)
    layout = (1 - (first * second).sum() / norms).clamp(0, 1)
    layout *= norms / (norms + first.numel())  # noise of a plain frame is no layout
    return float((colors * layout).sqrt())
