"""Detections that are remembered, for the comparison of methods and schedules on the same video."""

from typing import Any

from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from semidff.models.key_frame import FlowField, KeyFrame

from .base import Executor


class RememberedDetections:
    """Executor that remembers the detections of another one in one video at one input size.

    Methods and schedules differ in the pairs of frames that they choose. So one method at several key-frame intervals,
    and several methods at one interval, share most detections. Features are not kept: those of a key frame are computed
    again when a pair is missing. Of instances with masks, the boxes are kept alone.

    Frames have their ``frame_id`` in the metainfo. They are computed one by one, so that results do not depend on the
    batches.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor, self.model = executor, executor.model
        self._found: dict[tuple, InstanceData] = {}

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, '_Keys']:
        keys = _Keys()
        for image, sample in zip(inputs.split(1), samples, strict=True):
            keys.append(key := _Key(self.executor, image, [sample]))
            if key.index not in self._found:
                (result,), key.frame = self.executor.predict_key(image, [sample])
                self._found[key.index] = same_boxes(result.pred_instances)
        return [
            self._repeat(key.index, sample) for key, sample in zip(keys, samples, strict=True)
        ], keys

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: '_Key',
        flow_field: FlowField | None = None,
    ) -> SampleList:
        for index, sample in enumerate(samples):
            pair, own = (key.index, sample.frame_id), flow_field and flow_field.frame(index)
            if pair not in self._found:
                image = inputs[index : index + 1]
                (result,) = self.executor.predict_non_key(image, [sample], key.computed(), own)
                self._found[pair] = same_boxes(result.pred_instances)
        return [self._repeat((key.index, sample.frame_id), sample) for sample in samples]

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        return self.executor.flow_field(inputs, key)

    def with_temporal(self, temporal: nn.Module | None) -> 'RememberedDetections':
        return RememberedDetections(self.executor.with_temporal(temporal))

    def independent(self) -> None:
        return None

    def _repeat(self, index: Any, sample: DetDataSample) -> DetDataSample:
        sample.pred_instances = same_boxes(self._found[index])
        return sample


class _Key:
    """A key frame whose features are computed when they are needed."""

    def __init__(self, executor: Executor, inputs: Tensor, samples: SampleList) -> None:
        self.executor, self.inputs, self.samples = executor, inputs, samples
        self.index = samples[0].frame_id, inputs.shape  # a method may detect at another input size
        self.frame: KeyFrame | None = None

    def computed(self) -> KeyFrame:
        if self.frame is None:
            self.frame = self.executor.model.key_frame(self.inputs, self.samples)
        return self.frame


class _Keys(list[_Key]):
    def split(self) -> list[_Key]:
        return self


def same_boxes(found: InstanceData) -> InstanceData:
    """Return instances with the same tensors, which can be replaced."""
    return InstanceData(bboxes=found.bboxes, scores=found.scores, labels=found.labels)
