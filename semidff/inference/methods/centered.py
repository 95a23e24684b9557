"""*centered*: each frame from the nearer key frame, before or after it; offline."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from semidff.models.video_detector import FlowField, KeyFrame

from .base import METHODS
from .propagate import KeyFeatures, Propagation


@dataclass
class Window(KeyFeatures):
    """A video's last key frame, and the frames that wait for the next one."""

    waiting: list[tuple[Tensor, DetDataSample]] = field(default_factory=list)


@METHODS.register_module(name='centered')
class Centered(Propagation):
    """Propagation in both directions: the key frame sits in the middle of the frames that it speaks for.

    Key frames are those of *propagate*, and so is the cost, but the largest distance to one is half as large. A frame
    exactly in the middle goes to the earlier key frame; after a video's last key frame its features are carried on.
    Results of the frames between two key frames come together with the later one's, and are computed in batches.

    The temporal module has to know both directions: train it with ``both_directions=True`` (SemiDFF).

    Args:
        model (nn.Module): A ``VideoDetector`` in eval mode.
        keep_fields (bool): As in :class:`Propagation`.
        batch_size (int): Most frames that are propagated at a time.
    """

    pairwise = False
    inspectable = False  # the key frame that a frame will be propagated from may be still to come

    def __init__(self, model: nn.Module, keep_fields: bool = False, batch_size: int = 16) -> None:
        super().__init__(model, keep_fields)
        self.batch_size = batch_size

    def begin(self) -> Window:
        """See :class:`VideoMethod`."""
        return Window()

    def key(
        self, inputs: Tensor, samples: SampleList, memories: Sequence[Window]
    ) -> list[SampleList]:
        """See :class:`VideoMethod`; finishes the frames since the last key frames."""
        results, keys = self.model.predict_key(inputs, samples)
        finished = []
        for result, key, memory in zip(results, keys.split(), memories, strict=True):
            earlier = [memory.key_frame] * ((len(memory.waiting) + 1) // 2)
            later = [key] * (len(memory.waiting) // 2)
            finished.append([*self._finish(memory, earlier + later), result])
            memory.key_frame = key
        return finished

    def non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        memories: Sequence[Window],
        flow_field: FlowField | None = None,
    ) -> list[SampleList]:
        """Waits for the next key frame."""
        for image, sample, memory in zip(inputs.split(1), samples, memories, strict=True):
            memory.waiting.append((image, sample))
        return [[] for _ in samples]

    def flush(self, memory: Window) -> SampleList:
        """Frames after the last key frame."""
        return self._finish(memory, [memory.key_frame] * len(memory.waiting))

    def _finish(self, memory: Window, keys: Sequence[KeyFrame]) -> SampleList:
        """Results of all frames that wait, each from its key frame."""
        waiting, memory.waiting = memory.waiting, []
        results: SampleList = []
        for start in range(0, len(waiting), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            inputs, samples = zip(*waiting[chosen], strict=True)
            results += self._propagated(torch.cat(inputs), list(samples), keys[chosen])
        return results
