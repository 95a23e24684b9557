"""*copy*: the key frame's boxes or labels, unchanged, until the next key frame (semi-DFF Table 1)."""

from copy import deepcopy

from mmdet.structures import DetDataSample, SampleList

from .base import METHODS, BoxMemory, BoxMethod


@METHODS.register_module(name='copy')
class Copy(BoxMethod):
    """Repeats the predictions of the last key frame."""

    pairwise = True
    needs_boxes = False

    def _key(self, result: DetDataSample, memory: BoxMemory) -> SampleList:
        memory.detections = result.get(self.prediction)
        return [result]

    def _non_key(self, sample: DetDataSample, memory: BoxMemory) -> SampleList:
        setattr(sample, self.prediction, deepcopy(memory.detections))
        return [sample]
