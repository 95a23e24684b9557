"""*interpolate*: boxes of neighbouring key frames linked and interpolated; offline."""

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor

from .linking import link
from .method import VideoMethod, instances_like

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


class Interpolate(VideoMethod):
    """Linear interpolation between the key frames before and after; not causal.

    Detections of the two key frames are linked one to one within each class by IoU and centre
    distance.  Boxes and scores of linked pairs are interpolated linearly in time.  A detection
    without a partner is repeated as far as the middle between the two key frames (the frame exactly
    in the middle goes to the earlier one): the object came or went somewhere in between, and each
    key frame speaks for the frames that are nearer to it.  After a video's last key frame its boxes
    are repeated.  Results of frames between key frames come together with the next key frame's.
    """

    def reset(self) -> None:
        """Drops the last key frame's detections and the frames that wait for the next one."""
        self._last: InstanceData | None = None
        self._waiting: list[DetDataSample] = []

    def key(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`."""
        result = self.detect(inputs, sample)
        finished = self._between(result.pred_instances) if self._waiting else []
        self._last, self._waiting = result.pred_instances, []
        return [*finished, result]

    def current(self, inputs: None, sample: DetDataSample) -> list[DetDataSample]:
        """Waits for the next key frame."""
        self._waiting.append(sample)
        return []

    def flush(self) -> list[DetDataSample]:
        """Frames after the last key frame, with its boxes."""
        finished, self._waiting = self._waiting, []
        for sample in finished:
            sample.pred_instances = self._last.clone()
        return finished

    def _between(self, following: InstanceData) -> list[DetDataSample]:
        before, after = _arrays(self._last), _arrays(following)
        links = link(before, after)
        gap = len(self._waiting) + 1
        for position, sample in enumerate(self._waiting, start=1):
            arrays = interpolate(before, after, links, position / gap)
            sample.pred_instances = instances_like(self._last, *arrays)
        return self._waiting


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
