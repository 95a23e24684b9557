"""What every way of getting boxes for all frames of a video has in common."""

from abc import ABC, abstractmethod

from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn


class MethodError(ValueError):
    """A method that does not exist, or that the given model cannot do."""


class VideoMethod(ABC):
    """One way through a video: what happens on key frames and on the frames between.

    Both steps return the results that are finished by then, in frame order; a causal method
    returns exactly the frame it was given.  A method holds the state of one video only.

    Args:
        model (nn.Module): A ``VideoDetector`` in eval mode.
    """

    reads_current_frames = False
    """Whether the frames between key frames must be preprocessed and sent to the device."""

    uses_temporal = False
    """Whether the model's own temporal module is run, so that its weights are needed."""

    pairwise = False
    """Whether a result follows from the frame and its key frame alone, whatever is in between."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forgets the video."""

    @abstractmethod
    def key(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """Takes a key frame.

        Args:
            inputs (Tensor): The preprocessed frame, (1, 3, H, W).
            sample (DetDataSample): Its data sample.
        """

    @abstractmethod
    def current(self, inputs: Tensor | None, sample: DetDataSample) -> list[DetDataSample]:
        """Takes a frame between key frames.

        Args:
            inputs (Tensor | None): The preprocessed frame, (1, 3, H, W); None unless
                ``reads_current_frames``.
            sample (DetDataSample): Its data sample.
        """

    def flush(self) -> list[DetDataSample]:
        """Results of the video's last frames that are still missing (offline methods)."""
        return []

    def close(self) -> None:  # noqa: B027 (most methods have nothing to undo)
        """Undoes what was done to the model; the method is not used afterwards."""

    def detect(self, inputs: Tensor, sample: DetDataSample) -> DetDataSample:
        """The spatial module on one frame; used by the methods that work on boxes."""
        return self.model.predict_key(inputs, [sample])[0][0]


def instances_like(template: InstanceData, bboxes, scores, labels) -> InstanceData:
    """Instances from arrays, with the dtypes and on the device of ``template``'s tensors.

    Args:
        template (InstanceData): Detections with ``bboxes``, ``scores`` and ``labels``.
        bboxes (ndarray): (n, 4), xyxy in pixels of the original image.
        scores (ndarray): (n,).
        labels (ndarray): (n,).
    """
    return InstanceData(
        bboxes=template.bboxes.new_tensor(bboxes).reshape(-1, 4),
        scores=template.scores.new_tensor(scores),
        labels=template.labels.new_tensor(labels),
    )
