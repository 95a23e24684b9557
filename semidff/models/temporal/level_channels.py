"""Channels of each feature level, from a temporal module's settings."""

from collections.abc import Sequence


def level_channels(
    feat_channels: int | Sequence[int], feat_strides: Sequence[float]
) -> tuple[int, ...]:
    """Return the channels of each level.

    Args:
        feat_channels: Channels of all levels or of each one.
        feat_strides: Stride of each level.

    Raises:
        ValueError: If both name different numbers of levels.
    """
    if isinstance(feat_channels, int):
        return (feat_channels,) * len(feat_strides)
    if len(feat_channels) != len(feat_strides):
        raise ValueError(
            f'feat_channels={tuple(feat_channels)} and feat_strides={tuple(feat_strides)} name different numbers of '
            'levels'
        )
    return tuple(feat_channels)
