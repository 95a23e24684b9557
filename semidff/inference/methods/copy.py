"""*copy*: the key frame's boxes, unchanged, until the next key frame (semi-DFF Table 1)."""

from copy import deepcopy

from mmdet.structures import DetDataSample, SampleList

from .base import METHODS, BoxMemory, BoxMethod


@METHODS.register_module(name='copy')
class Copy(BoxMethod):
    """Repeats the detections of the last key frame."""

    pairwise = True

    def _key(self, result: DetDataSample, memory: BoxMemory) -> SampleList:
        memory.detections = result.pred_instances
        return [result]

    def _non_key(self, sample: DetDataSample, memory: BoxMemory) -> SampleList:
        sample.pred_instances = deepcopy(memory.detections)
        return [sample]
