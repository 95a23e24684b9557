"""*coast*: key-frame boxes carried on by a causal tracker, as people do who skip frames today."""

import numpy as np
from mmdet.structures import DetDataSample
from torch import Tensor

from .box_tracker import BoxTracker
from .method import VideoMethod, instances_like


class Coast(VideoMethod):
    """Detections on key frames, a Kalman filter in between; causal.

    On key frames the boxes are exactly the detected ones, whatever the tracker thinks.  All
    detections are carried, with their scores; boxes that have left the image are dropped and those
    that leave it partly are cut at its border.
    """

    def reset(self) -> None:
        """Starts a new tracker."""
        self._tracker = BoxTracker()
        self._detections = None

    def key(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`."""
        result = self.detect(inputs, sample)
        self._detections = result.pred_instances
        found = self._detections.cpu()
        self._scores, self._labels = found.scores.numpy(), found.labels.numpy()
        self._tracker.step()
        self._tracker.update(found.bboxes.numpy(), self._scores, self._labels)
        return [result]

    def current(self, inputs: None, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`."""
        self._tracker.step()
        height, width = sample.ori_shape[:2]
        boxes = np.clip(self._tracker.boxes(), 0, [width, height, width, height])
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        sample.pred_instances = instances_like(
            self._detections, boxes[inside], self._scores[inside], self._labels[inside]
        )
        return [sample]
