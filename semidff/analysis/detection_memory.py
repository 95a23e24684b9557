"""A video detector that detects in each frame, and in each pair of key frame and current frame, once."""

import copy

from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.spatial.twin import twin
from semidff.models.video_detector import VideoDetector


class DetectionMemory(VideoDetector):
    """Twin of a video detector that remembers its detections in one video at one input size.

    Methods and schedules differ in the pairs that they choose. So one method at several key-frame intervals, and
    several methods at one interval, share most detections. Features are not kept: those of a key frame are computed
    again when a pair is missing. Of instances with masks, the boxes are kept alone.

    Batches must hold one frame, with ``frame_id`` in its metainfo.

    Args:
        model: The detector, which does not change.
    """

    def __init__(self, model: VideoDetector) -> None:
        vars(self).update(vars(twin(model)))
        self._found: dict[int | tuple[int, int], InstanceData] = {}

    def forget(self) -> None:
        """Begin a new video."""
        self._found.clear()

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, '_Key']:
        """Detect on a key frame, or repeat its detections."""
        (sample,) = samples
        key = _Key(self, inputs, sample.frame_id)
        if sample.frame_id not in self._found:
            (result,), key.frame = super().predict_key(inputs, samples)
            self._found[sample.frame_id] = _boxes(result.pred_instances)
        sample.pred_instances = copy.deepcopy(self._found[sample.frame_id])
        return [sample], key

    def flow_field(self, inputs: Tensor, key: '_Key') -> FlowField:
        """Compute the flow field."""
        return super().flow_field(inputs, key.computed())

    def predict_non_key(
        self, inputs: Tensor, samples: SampleList, key: '_Key', flow_field: FlowField | None = None
    ) -> SampleList:
        """Detect on propagated features, or repeat the detections."""
        (sample,) = samples
        pair = key.index, sample.frame_id
        if pair not in self._found:
            (result,) = super().predict_non_key(inputs, samples, key.computed(), flow_field)
            self._found[pair] = _boxes(result.pred_instances)
        sample.pred_instances = copy.deepcopy(self._found[pair])
        return [sample]


def _boxes(found: InstanceData) -> InstanceData:
    return InstanceData(bboxes=found.bboxes, scores=found.scores, labels=found.labels)


class _Key:
    """A key frame whose features are computed when they are needed."""

    def __init__(self, memory: DetectionMemory, inputs: Tensor, index: int) -> None:
        self.memory, self.inputs, self.index = memory, inputs, index
        self.frame: KeyFrame | None = None

    def computed(self) -> KeyFrame:
        if self.frame is None:
            with self.memory.running():
                image = self.memory.temporal.prepare(self.inputs)
                self.frame = KeyFrame(image, self.memory.spatial.features(self.inputs))
        return self.frame

    def split(self) -> 'list[_Key]':
        return [self]
