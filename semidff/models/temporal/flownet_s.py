"""FlowNetS and FlowNet Half (DFF section 4, Tables 6 and 7; FlowNet, Dosovitskiy et al. 2015). Pure PyTorch."""

from collections.abc import Sequence

from torch import Tensor, nn

from .refinement import FlowNetwork, activate

# name, kernel, stride, channels at width 1 (DFF Table 6)
_ENCODER = (
    ('conv1', 7, 2, 64),
    ('conv2', 5, 2, 128),
    ('conv3', 5, 2, 256),
    ('conv3_1', 3, 1, 256),
    ('conv4', 3, 2, 512),
    ('conv4_1', 3, 1, 512),
    ('conv5', 3, 2, 512),
    ('conv5_1', 3, 1, 512),
    ('conv6', 3, 2, 1024),
    ('conv6_1', 3, 1, 1024),
)
_SKIPS = ('conv5_1', 'conv4_1', 'conv3_1', 'conv2')
_REFINEMENT = (512, 256, 128, 64)


class FlowNetS(FlowNetwork):
    """FlowNet "Simple": ten convolutions and the refinement part.

    Args:
        width: Factor on the channels of every layer: 1 for FlowNetS, 0.5 for FlowNet Half (DFF Table 7).
        **kwargs: Arguments of :class:`~semidff.models.temporal.refinement.FlowNetwork`.

    Raises:
        ValueError: If the width is not positive.
    """

    def __init__(self, *, width: float = 1.0, **kwargs: float) -> None:
        super().__init__(**kwargs)
        if width <= 0:
            raise ValueError(f'width must be positive, got {width}')
        channels, previous = {}, 6
        for name, kernel, stride, full in _ENCODER:
            channels[name] = _scaled(full, width)
            setattr(self, name, nn.Conv2d(previous, channels[name], kernel, stride, kernel // 2))
            previous = channels[name]
        skips = [channels[name] for name in _SKIPS]
        self.add_refinement(previous, skips, [_scaled(full, width) for full in _REFINEMENT])

    def encode(self, frames: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        outputs, top = {}, frames
        for name, *_ in _ENCODER:
            top = outputs[name] = activate(getattr(self, name)(top))
        return top, [outputs[name] for name in _SKIPS]


def _scaled(channels: int, width: float) -> int:
    return max(2, round(channels * width))
