"""*interpolate*: boxes of neighboring key frames linked and interpolated; offline."""

from dataclasses import dataclass, field

import numpy as np
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData

from .base import METHODS, BoxMethod, instances_like
from .linking import link

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass
class Waiting:
    """Detections on the last key frame, and the frames since."""

    last: InstanceData | None = None
    samples: SampleList = field(default_factory=list)


@METHODS.register_module(name='interpolate')
class Interpolate(BoxMethod):
    """Linear interpolation between the key frames before and after; not causal.

    Detections of the two key frames are linked one to one within each class by IoU and center
    distance.  Boxes and scores of linked pairs are interpolated linearly in time.  A detection
    without a partner is repeated as far as the middle between the two key frames (the frame exactly
    in the middle goes to the earlier one): the object came or went somewhere in between, and each
    key frame speaks for the frames that are nearer to it.  After a video's last key frame its boxes
    are repeated.  Results of frames between key frames come together with the next key frame's.
    """

    def begin(self) -> Waiting:
        """See :class:`VideoMethod`."""
        return Waiting()

    def _key(self, result: DetDataSample, memory: Waiting) -> SampleList:
        finished = _between(memory, result.pred_instances) if memory.samples else []
        memory.last, memory.samples = result.pred_instances, []
        return [*finished, result]

    def _non_key(self, sample: DetDataSample, memory: Waiting) -> SampleList:
        memory.samples.append(sample)
        return []

    def flush(self, memory: Waiting) -> SampleList:
        """Frames after the last key frame, with its boxes."""
        finished, memory.samples = memory.samples, []
        for sample in finished:
            sample.pred_instances = memory.last.clone()
        return finished


def _between(memory: Waiting, following: InstanceData) -> SampleList:
    """Results of the frames that wait, from the key frames before and after them."""
    before, after = _arrays(memory.last), _arrays(following)
    links = link(before, after)
    gap = len(memory.samples) + 1
    for position, sample in enumerate(memory.samples, start=1):
        arrays = interpolate(before, after, links, position / gap)
        sample.pred_instances = instances_like(memory.last, *arrays)
    return memory.samples


def interpolate(
    before: Arrays, after: Arrays, links: tuple[np.ndarray, np.ndarray], time: float
) -> Arrays:
    """Detections at a moment between two key frames.

    Args:
        before (tuple): Boxes (n, 4), scores (n,), labels (n,) of the earlier key frame.
        after (tuple): The same of the later one.
        links (tuple): Linked indices into ``before`` and into ``after``.
        time (float): 0 at the earlier key frame, 1 at the later one.

    Returns:
        tuple: Boxes, scores and labels in descending order of the scores.
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


def _arrays(instances: InstanceData) -> Arrays:
    found = instances.cpu()
    return found.bboxes.numpy().astype(np.float64), found.scores.numpy(), found.labels.numpy()
