"""*copy*: the key frame's boxes, unchanged, until the next key frame (semi-DFF Table 1)."""

from mmdet.structures import DetDataSample
from torch import Tensor

from .method import VideoMethod


class CopyBoxes(VideoMethod):
    """Repeats the detections of the last key frame."""

    pairwise = True

    def reset(self) -> None:
        """Drops the key frame's detections."""
        self._detections = None

    def key(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`."""
        result = self.detect(inputs, sample)
        self._detections = result.pred_instances
        return [result]

    def current(self, inputs: None, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`."""
        sample.pred_instances = self._detections.clone()
        return [sample]
