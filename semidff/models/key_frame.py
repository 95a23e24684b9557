"""What is kept of key frames, and the motion of current frames (DFF Algorithm 1)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class KeyFrame(NamedTuple):
    image: Tensor | None  # the temporal module's input (N, 3, H / 2, W / 2), None without one
    features: tuple[Tensor, ...]  # (N, C, H_l, W_l) per level

    @classmethod
    def batch(cls, keys: 'Sequence[KeyFrame]') -> 'KeyFrame':
        """Concatenate key frames of equal size; a single one for all frames is not repeated."""
        if all(key is keys[0] for key in keys):
            return keys[0]
        images, features = zip(*keys, strict=True)
        image = None if images[0] is None else torch.cat(images)
        return cls(image, tuple(torch.cat(level) for level in zip(*features, strict=True)))

    def frame(self, index: int) -> 'KeyFrame':
        """Return that of one of the frames, or the one for all, without a copy."""
        index = index if len(self.features[0]) > 1 else 0
        one = slice(index, index + 1)
        return KeyFrame(
            self.image if self.image is None else self.image[one],
            tuple(level[one] for level in self.features),
        )

    def split(self) -> 'list[KeyFrame]':
        """Return the key frames of a batch, with memory of their own."""
        count = len(self.features[0])
        if count == 1:
            return [self]
        images = [None] * count if self.image is None else self.image.split(1)
        levels = zip(*(level.split(1) for level in self.features), strict=True)
        return [
            KeyFrame(image if image is None else image.clone(), tuple(map(torch.clone, features)))
            for image, features in zip(images, levels, strict=True)
        ]


class FlowField(NamedTuple):
    """Feature flow, scale field and context of current frames, with their images."""

    key: Tensor  # the temporal module's input (N, 3, H / 2, W / 2)
    current: Tensor  # likewise
    flow: Tensor  # (N, 2, h, w) in cells of the flow network's stride
    scale: Tensor | None  # (N, C, h, w), None without one
    context: Tensor | None = None  # of the correction, (N, C, h, w), None without one

    @property
    def fields(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Flow, scale field and context, as the temporal module's ``fields()`` returns them."""
        return self.flow, self.scale, self.context

    def frame(self, index: int) -> 'FlowField':
        """Return the flow field (N = 1) of one of the frames, without a copy."""
        one = slice(index, index + 1)
        return FlowField(*(field if field is None else field[one] for field in self))
