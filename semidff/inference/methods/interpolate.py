"""*interpolate*: boxes interpolated between consecutive key frames; offline."""

from dataclasses import dataclass, field

import numpy as np
from mmdet.structures import DetDataSample, SampleList

from .base import METHODS, BoxMemory, BoxMethod, instances_like
from .linking import Arrays, arrays_of, link


@dataclass
class InterpolateMemory(BoxMemory):
    """Detections on the last key frame of a video, and data samples of the frames since."""

    samples: SampleList = field(default_factory=list)


@METHODS.register_module(name='interpolate')
class Interpolate(BoxMethod):
    """Linear interpolation between the previous and the next key frame; not causal.

    Detections of the two key frames are linked one to one within each class by IoU and center distance. Boxes and
    scores of linked pairs are interpolated linearly in time. The object of an unlinked detection appears or
    disappears between the two key frames: its box is repeated on the frames that are nearer to its key frame, a frame
    exactly in the middle belonging to the earlier one. After the last key frame of a video, its boxes are repeated.
    Results of non-key frames are returned together with those of the next key frame.
    """

    offline = True
    memory_class = InterpolateMemory

    def _key(self, result: DetDataSample, memory: InterpolateMemory) -> SampleList:
        finished, following = memory.samples, result.pred_instances
        if finished:
            before, after = arrays_of(memory.detections), arrays_of(following)
            links = link(before, after)
            for position, sample in enumerate(finished, start=1):
                arrays = interpolate(before, after, links, position / (len(finished) + 1))
                sample.pred_instances = instances_like(memory.detections, *arrays)
        memory.detections, memory.samples = following, []
        return [*finished, result]

    def _non_key(self, sample: DetDataSample, memory: InterpolateMemory) -> SampleList:
        memory.samples.append(sample)
        return []

    def flush(self, memory: InterpolateMemory) -> SampleList:
        """Return the frames after the last key frame, with its boxes."""
        finished, memory.samples = memory.samples, []
        for sample in finished:
            arrays = arrays_of(memory.detections)
            sample.pred_instances = instances_like(memory.detections, *arrays)
        return finished


def interpolate(
    before: Arrays, after: Arrays, links: tuple[np.ndarray, np.ndarray], time: float
) -> Arrays:
    """Interpolate detections between two key frames.

    Args:
        before: Boxes (n, 4), scores (n,) and labels (n,) of the earlier key frame.
        after: Likewise of the later key frame.
        links: Linked indices into ``before`` and into ``after``.
        time: 0 at the earlier key frame, 1 at the later one.

    Returns:
        Boxes, scores and labels in descending order of the scores.
    """
    rows, columns = links
    nearer, linked = (before, rows) if time <= 0.5 else (after, columns)
    single = np.setdiff1d(np.arange(len(nearer[1])), linked)
    boxes = (1 - time) * before[0][rows] + time * after[0][columns]
    scores = (1 - time) * before[1][rows] + time * after[1][columns]
    boxes = np.concatenate([boxes, nearer[0][single]])
    scores = np.concatenate([scores, nearer[1][single]])
    labels = np.concatenate([before[2][rows], nearer[2][single]])
    order = np.argsort(-scores, kind='stable')
    return boxes[order], scores[order], labels[order]
