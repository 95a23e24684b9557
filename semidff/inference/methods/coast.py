"""*coast*: key-frame boxes carried on by a causal tracker, as people do who skip frames today."""

from dataclasses import dataclass, field

import numpy as np
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData

from .base import METHODS, BoxMethod, instances_like
from .box_tracker import BoxTracker


@dataclass
class Track:
    """A video's tracker, and the detections that it carries."""

    tracker: BoxTracker = field(default_factory=BoxTracker)
    detections: InstanceData | None = None
    scores: np.ndarray | None = None
    labels: np.ndarray | None = None


@METHODS.register_module(name='coast')
class Coast(BoxMethod):
    """Detections on key frames, a Kalman filter in between; causal.

    On key frames the boxes are exactly the detected ones, whatever the tracker thinks.  All
    detections are carried, with their scores; boxes that have left the image are dropped and those
    that leave it partly are cut at its border.
    """

    def begin(self) -> Track:
        """Starts a new tracker."""
        return Track()

    def _key(self, result: DetDataSample, memory: Track) -> SampleList:
        memory.detections = result.pred_instances
        found = memory.detections.cpu()
        memory.scores, memory.labels = found.scores.numpy(), found.labels.numpy()
        memory.tracker.step()
        memory.tracker.update(found.bboxes.numpy(), memory.scores, memory.labels)
        return [result]

    def _non_key(self, sample: DetDataSample, memory: Track) -> SampleList:
        memory.tracker.step()
        height, width = sample.ori_shape[:2]
        boxes = np.clip(memory.tracker.boxes(), 0, [width, height, width, height])
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        sample.pred_instances = instances_like(
            memory.detections, boxes[inside], memory.scores[inside], memory.labels[inside]
        )
        return [sample]
