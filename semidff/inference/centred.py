"""*centred*: each frame from the nearer key frame, before or after it; offline."""

from collections.abc import Sequence

import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from semidff.models.video_detector import KeyFrame

from .propagation import Propagation


class Centred(Propagation):
    """Propagation in both directions: the key frame sits in the middle of the frames that it speaks for.

    Key frames are those of *propagate*, and so is the cost, but the largest distance to one is half as large. A frame
    exactly in the middle goes to the earlier key frame; after a video's last key frame its features are carried on.
    Results of the frames between two key frames come together with the later one's, and are computed in batches.

    The temporal module has to know both directions: train it with ``both_directions=True`` (SemiDFF).

    Args:
        model (nn.Module): A ``VideoDetector`` in eval mode.
        keep_flow (bool): As in :class:`Propagation`.
        batch_size (int): Most frames that are propagated at a time.
    """

    pairwise = False

    def __init__(self, model: nn.Module, keep_flow: bool = False, batch_size: int = 16) -> None:
        super().__init__(model, keep_flow)
        self.batch_size = batch_size

    def reset(self) -> None:
        """Drops the key frame's state and the frames that wait for the next one."""
        super().reset()
        self._waiting: list[tuple[Tensor, DetDataSample]] = []

    def key(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """See :class:`VideoMethod`; finishes the frames since the last key frame."""
        results, following = self.model.predict_key(inputs, [sample])
        earlier = [self._key_frame] * ((len(self._waiting) + 1) // 2)
        later = [following] * (len(self._waiting) // 2)
        finished = self._finish(earlier + later)
        self._key_frame = following
        return [*finished, *results]

    def current(self, inputs: Tensor, sample: DetDataSample) -> list[DetDataSample]:
        """Waits for the next key frame."""
        self._waiting.append((inputs, sample))
        return []

    @torch.no_grad()
    def flush(self) -> list[DetDataSample]:
        """Frames after the last key frame."""
        return self._finish([self._key_frame] * len(self._waiting))

    def _finish(self, keys: Sequence[KeyFrame]) -> list[DetDataSample]:
        """Results of all frames that wait, each from its key frame."""
        waiting, self._waiting = self._waiting, []
        results = []
        for start in range(0, len(waiting), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            inputs, samples = zip(*waiting[chosen], strict=True)
            results += self._propagated(torch.cat(inputs), list(samples), _joined(keys[chosen]))
        return results


def _joined(keys: Sequence[KeyFrame]) -> KeyFrame:
    """Key frames as one batch."""
    images, features = zip(*keys, strict=True)
    return KeyFrame(
        torch.cat(images), tuple(torch.cat(level) for level in zip(*features, strict=True))
    )
