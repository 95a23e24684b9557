"""Correction of propagated maps by a light residual block (not in the papers)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from semidff.models.losses import typical_size

_BATCHES = 100
"""Training batches over which the units are averaged; after these they do not change."""


class CurrentFrame(nn.Sequential):
    """Light network on the current frame (not in the papers; Accel, 2019, has a ResNet).

    What is not in the key frame, such as new objects, no flow can bring. Depthwise-separable
    convolutions (Howard et al. 2017) map the flow network's input (N, 3, H, W) to the context (N,
    ``width``, H / ``factor``, W / ``factor``) of a :class:`Correction`, with sides rounded up.

    Args:
        factor: A power of two.
        channels: Channels of the last layers; each layer of stride 2 before them has half as many
            as the next.
    """

    def __init__(self, factor: int, channels: int, width: int) -> None:
        steps = factor.bit_length() - 1
        counts = [max(channels >> (steps - 1 - step), 8) for step in range(steps)]
        layers = [nn.Conv2d(3, counts[0], 3, 2, 1), nn.ReLU(inplace=True)]
        layers += [_Separable(*pair, 3, 2) for pair in pairwise(counts)]
        layers += [_Separable(channels, channels, 5) for _ in range(2)]
        super().__init__(*layers, nn.Conv2d(channels, width, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kind = 'linear' if module.groups > 1 else 'relu'
                nn.init.kaiming_normal_(module.weight, nonlinearity=kind)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class _Separable(nn.Sequential):
    """Depthwise and 1 x 1 convolution; a residual unit where the map stays as it is."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, kernel, stride, kernel // 2, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1),
            nn.ReLU(inplace=True),
        )
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        change = super().forward(x)
        return x + change if self.is_residual else change


class Correction(nn.Module):
    """Corrects warped maps x: ``x + u * W3 relu(W2 relu(W1 (x / u) + c))``.

    Outputs of a head do more than move: if an object comes closer, its offsets grow, and
    interpolation between cells lowers the peaks of scores. A product with the scale field can
    express neither. The block reads all channels of 3 x 3 cells and the context c, a linear
    function of the flow network's last features, which know both frames, and the output of a
    network on the current frame, if there is one. W1 and W3 are 1 x 1 convolutions, W2 is a 3 x 3
    convolution. W3 starts at zero, so that an untrained block changes nothing.

    With ``class_maps``, all classes are treated alike: the block reads the highest score of an
    anchor's classes in place of all of them, and what it adds is the same for each. Then it can
    move, raise and lower what the detector found in the key frame, but not name it.

    Levels with the same number of channels share the weights. The units u, one for each channel of
    each level, are averages of :func:`~semidff.models.losses.typical_size` over the first training
    batches.

    Args:
        hidden_channels: Channels of the flow network's last features.
        width: Channels of the context and between the convolutions.
        current: Network that maps the flow network's input of the current frame to a context.
        class_maps: For each level, the first channel of the class scores, the number of anchors,
            and that of classes; None for a level without.
    """

    def __init__(
        self,
        hidden_channels: int,
        channels: Sequence[int],
        width: int,
        current: nn.Module | None = None,
        class_maps: Sequence[tuple[int, int, int] | None] | None = None,
    ) -> None:
        super().__init__()
        self.class_maps = class_maps or (None,) * len(channels)
        channels = [
            count - (place[1] * (place[2] - 1) if place else 0)
            for count, place in zip(channels, self.class_maps, strict=True)
        ]
        self.context = nn.Conv2d(hidden_channels, width, 1)
        self.current = current
        self.blocks = nn.ModuleDict()
        for level, count in enumerate(channels):
            layers = nn.Conv2d(count, width, 1), nn.Conv2d(width, width, 3, padding=1)
            self.blocks[str(count)] = nn.ModuleList([*layers, nn.Conv2d(width, count, 1)])
            self.register_buffer(f'unit{level}', torch.ones(count))
        self.register_buffer('batches', torch.zeros(len(channels)))
        self._settled: set[int] = set()  # levels whose count is not read from the device any more
        for first, second, last in self.blocks.values():
            for conv in (first, second):
                nn.init.kaiming_normal_(conv.weight, nonlinearity='relu')
                nn.init.zeros_(conv.bias)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def context_of(self, hidden: Tensor, current: Tensor, gate: Tensor | None = None) -> Tensor:
        """Return the context (N, ``width``, h, w) of the flow network's features and the frame.

        A gate (N, 1, h, w), by which the corrections are multiplied, becomes its last channel.
        """
        context = self.context(hidden)
        if self.current is not None:
            context = context + self.current(current)
        return context if gate is None else torch.cat((context, gate.to(context.dtype)), 1)

    def forward(self, maps: Tensor, context: Tensor, level: int) -> Tensor:
        """Correct warped maps (N, C, h, w) of a level, given the context at its cells."""
        context, gate = context.tensor_split([self.context.out_channels], 1)
        whole, place = maps, self.class_maps[level]
        if place:
            start, anchors, classes = place
            end = start + anchors * classes
            highest = maps[:, start:end].unflatten(1, (anchors, classes)).amax(2)
            maps = _joined(maps[:, :start], highest, maps[:, end:])
        unit = getattr(self, f'unit{level}')
        if self.training and level not in self._settled and self.batches[level] >= _BATCHES:
            self._settled.add(level)
        if self.training and level not in self._settled:
            self.batches[level] += 1
            size = reduce_mean(typical_size(maps, (0, 2, 3)))
            # Maps after a ReLU have channels that are always zero; in a unit of zero, they would be
            # all that counts.
            usual = size.median()
            size = torch.where(size > 1e-5 * usual, size, usual)
            # Not in place: the unit of an earlier call may be needed for its gradient.
            unit = unit.lerp(size, 1 / self.batches[level].item())
            setattr(self, f'unit{level}', unit)
        unit = unit[:, None, None]
        first, second, last = self.blocks[str(maps.shape[1])]
        # The division is part of the weights, which are fewer than the maps' elements.
        hidden = F.conv2d(maps, first.weight / unit, first.bias)
        correction = last(F.relu_(second(F.relu_(hidden.add_(context)))))
        if gate.shape[1]:
            correction = correction * gate
        if not place:
            return torch.addcmul(maps, correction.to(maps.dtype), unit.to(maps.dtype))
        correction = (correction * unit).to(maps.dtype)
        end = start + anchors
        scores = correction[:, start:end].repeat_interleave(classes, 1)
        return whole + _joined(correction[:, :start], scores, correction[:, end:])


def _joined(*maps: Tensor) -> Tensor:
    return torch.cat([one for one in maps if one.shape[1]], 1)  # runtimes know no empty maps
