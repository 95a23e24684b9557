"""*copy*: the key frame's boxes, unchanged, until the next key frame (semi-DFF Table 1)."""

from dataclasses import dataclass

from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData

from .base import METHODS, BoxMethod


@dataclass
class CopyMemory:
    """Detections on the last key frame of a video."""

    detections: InstanceData | None = None


@METHODS.register_module(name='copy')
class Copy(BoxMethod):
    """Repeats the detections of the last key frame."""

    pairwise = True

    def begin(self) -> CopyMemory:
        return CopyMemory()

    def _key(self, result: DetDataSample, memory: CopyMemory) -> SampleList:
        memory.detections = result.pred_instances
        return [result]

    def _non_key(self, sample: DetDataSample, memory: CopyMemory) -> SampleList:
        sample.pred_instances = memory.detections.clone()
        return [sample]
