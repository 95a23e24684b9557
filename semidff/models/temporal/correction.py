"""Correction of propagated maps by a light residual block (not in the papers)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from semidff.models.losses import typical_size

_BATCHES = 100
"""Training batches over which the units are averaged; after these they do not change."""


class Correction(nn.Module):
    """Corrects warped maps x: ``x + u * W3 relu(W2 relu(W1 (x / u) + c))``.

    Outputs of a head do more than move: if an object comes closer, its offsets grow, and interpolation between cells
    lowers the peaks of scores. A product with the scale field can express neither. The block reads all channels of
    3 x 3 cells and the context c, a linear function of the flow network's last features, which know both frames. W1 and
    W3 are 1 x 1 convolutions, W2 is a 3 x 3 convolution. W3 starts at zero, so that an untrained block changes nothing.

    Levels with the same number of channels share the weights. The units u, one for each channel of each level, are
    averages of :func:`~semidff.models.losses.typical_size` over the first training batches.

    Args:
        hidden_channels: Channels of the flow network's last features.
        width: Channels of the context and between the convolutions.
    """

    def __init__(self, hidden_channels: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.context = nn.Conv2d(hidden_channels, width, 1)
        self.blocks = nn.ModuleDict(
            {
                str(count): nn.ModuleList(
                    [
                        nn.Conv2d(count, width, 1),
                        nn.Conv2d(width, width, 3, padding=1),
                        nn.Conv2d(width, count, 1),
                    ]
                )
                for count in channels
            }
        )
        for level, count in enumerate(channels):
            self.register_buffer(f'unit{level}', torch.ones(count))
        self.register_buffer('batches', torch.zeros(len(channels)))
        self._settled: set[int] = set()  # levels whose count is not read from the device any more
        for first, second, last in self.blocks.values():
            for conv in (first, second):
                nn.init.kaiming_normal_(conv.weight, nonlinearity='relu')
                nn.init.zeros_(conv.bias)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, maps: Tensor, context: Tensor, level: int) -> Tensor:
        """Correct warped maps (N, C, h, w) of a level, given the context (N, ``width``, h, w) at its cells."""
        unit = getattr(self, f'unit{level}')
        if self.training and level not in self._settled and self.batches[level] >= _BATCHES:
            self._settled.add(level)
        if self.training and level not in self._settled:
            self.batches[level] += 1
            size = reduce_mean(typical_size(maps, (0, 2, 3)))
            # Maps after a ReLU have channels that are always zero; in a unit of zero, they would be all that counts.
            usual = size.median()
            size = torch.where(size > 1e-5 * usual, size, usual)
            # Not in place: the unit of an earlier call may be needed for its gradient.
            unit = unit.lerp(size, 1 / self.batches[level].item())
            setattr(self, f'unit{level}', unit)
        unit = unit[:, None, None]
        first, second, last = self.blocks[str(maps.shape[1])]
        # The division is part of the weights, which are fewer than the maps' elements.
        hidden = F.conv2d(maps, first.weight / unit, first.bias)
        correction = last(F.relu(second(F.relu(hidden + context))))
        return torch.addcmul(maps, correction.to(maps.dtype), unit.to(maps.dtype))
