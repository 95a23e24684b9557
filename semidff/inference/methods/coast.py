"""*coast*: key-frame boxes extrapolated by a tracker, the usual way of skipping frames."""

from dataclasses import dataclass, field

import numpy as np
from mmdet.structures import DetDataSample, SampleList

from .base import METHODS, BoxMemory, BoxMethod, instances_like
from .box_tracker import BoxTracker


@dataclass
class CoastMemory(BoxMemory):
    """Tracker of a video, and the detections on its last key frame."""

    tracker: BoxTracker = field(default_factory=BoxTracker)
    scores: np.ndarray | None = None
    labels: np.ndarray | None = None


@METHODS.register_module(name='coast')
class Coast(BoxMethod):
    """Detections on key frames, moved by a Kalman filter on non-key frames; causal.

    On key frames the boxes are exactly the detected ones, whatever the state of the filter. On non-key frames all
    detections are moved and keep their scores. Boxes are clipped to the image; those outside of it are dropped.
    """

    memory_class = CoastMemory

    def _key(self, result: DetDataSample, memory: CoastMemory) -> SampleList:
        memory.detections = result.pred_instances
        found = memory.detections.cpu()
        memory.scores, memory.labels = found.scores.numpy(), found.labels.numpy()
        memory.tracker.step()
        memory.tracker.update(found.bboxes.numpy(), memory.scores, memory.labels)
        return [result]

    def _non_key(self, sample: DetDataSample, memory: CoastMemory) -> SampleList:
        memory.tracker.step()
        height, width = sample.ori_shape[:2]
        boxes = np.clip(memory.tracker.boxes(), 0, [width, height, width, height])
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        sample.pred_instances = instances_like(
            memory.detections, boxes[inside], memory.scores[inside], memory.labels[inside]
        )
        return [sample]
