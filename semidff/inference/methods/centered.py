"""*centered*: propagation from the nearer of the previous and the next key frame; offline."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from semidff.models.key_frame import FlowField, KeyFrame
from semidff.utils.logs import log_warning

from .base import METHODS, Frames
from .propagate import Propagate, PropagateMemory


@dataclass
class CenteredMemory(PropagateMemory):
    """Last key frame of a video, and the frames that wait for the next one."""

    waiting: list[tuple[Tensor, DetDataSample]] = field(default_factory=list)


@METHODS.register_module(name='centered')
class Centered(Propagate):
    """Propagation in both directions, which puts a key frame in the middle of its non-key frames.

    Key frames and cost are those of *propagate*, but the largest distance to a key frame is half as large. A frame
    exactly in the middle is propagated from the earlier key frame, and so are all frames after the last one. Results
    of non-key frames are returned together with those of the next key frame, and are computed in batches.

    The temporal module has to be trained in both directions (``both_directions=True`` of SemiDFF); else a warning is
    logged.
    """

    pairwise = False
    inspectable = False  # a frame's key frame may be the next one
    offline = True
    memory_class = CenteredMemory

    batch_size = 16
    """Largest number of frames that are propagated at a time."""

    def __init__(self, model: nn.Module, keep_fields: bool = False) -> None:
        super().__init__(model, keep_fields)
        # What the model in an exported graph was trained for is not known.
        if not getattr(model, 'both_directions', True):
            _warn_of_backward(type(self).__name__.lower())

    def key(self, frames: Frames) -> list[SampleList]:
        """Detect on key frames, and on the non-key frames before them."""
        results, keys = self.model.predict_key(frames.inputs, frames.samples)
        finished = []
        for result, key, memory in zip(results, keys.split(), frames.memories, strict=True):
            earlier = [memory.key_frame] * ((len(memory.waiting) + 1) // 2)
            later = [key] * (len(memory.waiting) // 2)
            finished.append([*self._finish(memory, earlier + later), result])
            memory.key_frame = key
        return finished

    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        """Keep frames until the next key frame."""
        for image, sample, memory in zip(*frames, strict=True):
            memory.waiting.append((image, sample))
        return [[] for _ in frames.samples]

    def flush(self, memory: CenteredMemory) -> SampleList:
        """Return the results after the last key frame."""
        return self._finish(memory, [memory.key_frame] * len(memory.waiting))

    def _finish(self, memory: CenteredMemory, keys: Sequence[KeyFrame]) -> SampleList:
        """Return the results of all waiting frames, each propagated from its key frame."""
        waiting, memory.waiting = memory.waiting, []
        results: SampleList = []
        for start in range(0, len(waiting), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            inputs, samples = zip(*waiting[chosen], strict=True)
            memories = [PropagateMemory(key) for key in keys[chosen]]
            finished = super().non_key(Frames(torch.stack(inputs), list(samples), memories))
            results += itertools.chain(*finished)
        return results


@cache  # an evaluation of many operating points builds as many methods
def _warn_of_backward(method: str) -> None:
    log_warning(
        f'method {method!r} propagates in both directions, but by its config this model was trained in one: train with '
        'model.both_directions=True, or use method propagate'
    )
