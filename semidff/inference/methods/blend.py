"""*blend*: propagated boxes averaged with interpolated ones; offline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import bbox_overlaps
from scipy.optimize import linear_sum_assignment

from .base import METHODS, Frames
from .centered import Centered, CenteredMemory
from .interpolate import interpolate
from .linking import Arrays, arrays_of, link


@dataclass
class BlendMemory(CenteredMemory):
    """Last key frame of a video with its detections, and the frames that wait for the next one."""

    detections: Arrays | None = None


@METHODS.register_module(name='blend')
class Blend(Centered):
    """*centered*, with boxes drawn towards those of *interpolate*.

    The error of a propagated box grows with the distance from its key frame and differs from frame to frame, that of
    an interpolated one with the change of motion. Their mean is tighter than both where they are close to one another.
    Each propagated box is averaged with the interpolated box of its class that it overlaps most, one to one; the weight
    of the interpolated one is IoU² / 2. Scores and classes are the propagated ones. Boxes after the last key frame of a
    video, and boxes of instances with masks, are not changed.

    Raises:
        MethodError: If the model predicts no boxes, or has no temporal module.
    """

    needs_boxes = True
    memory_class = BlendMemory

    def key(self, frames: Frames) -> list[SampleList]:
        finished = super().key(frames)
        for (*non_key, key), memory in zip(finished, frames.memories, strict=True):
            following = arrays_of(key.pred_instances)
            if non_key and 'masks' not in key.pred_instances:
                _blend(non_key, memory.detections, following)
            memory.detections = following
        return finished


def _blend(non_key: Sequence[DetDataSample], before: Arrays, after: Arrays) -> None:
    """Average the boxes of all non-key frames of an interval."""
    links = link(before, after)
    for position, sample in enumerate(non_key, start=1):
        tracks, _, labels = interpolate(before, after, links, position / (len(non_key) + 1))
        found = sample.pred_instances
        found.bboxes = found.bboxes.new_tensor(average(arrays_of(found), tracks, labels))


def average(found: Arrays, tracks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average boxes with those of tracks.

    Args:
        found: Boxes (n, 4), scores (n,) and labels (n,).
        tracks: Boxes (m, 4) of the tracks.
        labels: Classes (m,) of the tracks.

    Returns:
        Boxes (n, 4); those that overlap no track of their class are unchanged.
    """
    boxes = found[0]
    overlaps = bbox_overlaps(torch.from_numpy(boxes), torch.from_numpy(tracks)).numpy()
    overlaps = np.where(found[2][:, None] == labels, overlaps, 0)
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    weights = overlaps[rows, columns, None] ** 2 / 2
    boxes[rows] += weights * (tracks[columns] - boxes[rows])
    return boxes
