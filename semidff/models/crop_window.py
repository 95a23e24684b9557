"""Crops of whole frames and of their features, as ``RandomCropWindow`` draws them."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmdet.structures import SampleList
from torch import Tensor

Window = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""


def crop_windows(samples: SampleList) -> list[Window] | None:
    """Return the windows of a batch; None if its frames are not cropped.

    Raises:
        ValueError: If windows differ in size.
    """
    windows = [sample.metainfo.get('crop_window') for sample in samples]
    if windows[0] is None:
        return None
    if len({window[2:] for window in windows}) > 1:
        raise ValueError(
            f'RandomCropWindow: the windows {windows} of a batch differ in size; crop_size must not exceed any frame'
        )
    return windows


def crop_images(images: Tensor, windows: Sequence[Window]) -> Tensor:
    """Crop images (N, C, H, W)."""
    return torch.stack([_crop(*pair) for pair in zip(images, windows, strict=True)])


def cropped_features(
    network: Callable[[Tensor], Sequence[Tensor]],
    images: Sequence[Tensor],
    samples: SampleList,
    strides: Sequence[float],
    divisor: int,
) -> tuple[Tensor, ...]:
    """Compute the features of whole images, each without the padding to the batch's size, and crop them.

    Args:
        network: Maps images (1, 3, H, W) to one map per level.
        images: N images (3, H, W) of the batch.
        samples: Their data samples, with windows whose positions are multiples of the strides.
        strides: Stride of each level.
        divisor: Images are padded to multiples of it, as for predictions.

    Returns:
        Maps (N, C_l, ceil(h / s_l), ceil(w / s_l)) for windows of (h, w).

    Raises:
        ValueError: If the position of a window is no multiple of a stride.
    """
    whole = [
        int(stride) for stride in strides if stride == int(stride)
    ]  # not those of SSD's last levels
    crops = []
    for image, sample, window in zip(images, samples, crop_windows(samples), strict=True):
        if any(side % stride for side in window[:2] for stride in whole):
            raise ValueError(
                f'RandomCropWindow: a window begins at {window[:2]}, which are no multiples of the strides '
                f'{whole}; set its divisor to a multiple of them'
            )
        height, width = (-(-side // divisor) * divisor for side in sample.img_shape[:2])
        levels = network(image[None, :, :height, :width])
        crops.append(
            [_crop(level[0], window, stride) for level, stride in zip(levels, strides, strict=True)]
        )
    return tuple(torch.stack(level) for level in zip(*crops, strict=True))


def crop_samples(samples: SampleList, windows: Sequence[Window]) -> SampleList:
    """Return data samples that describe the crops."""
    cropped = []
    for sample, (*_, height, width) in zip(samples, windows, strict=True):
        size = height, width
        sample = sample.new()
        sample.set_metainfo(dict(img_shape=size, batch_input_shape=size, pad_shape=size))
        cropped.append(sample)
    return cropped


def _crop(maps: Tensor, window: Window, stride: float = 1) -> Tensor:
    top, left, height, width = (-int(-side // stride) for side in window)
    part = maps[..., top : top + height, left : left + width]
    # A network that rounds sizes down may lack the window's last cells: as at every border, the outermost are repeated.
    missing = (0, width - part.shape[-1], 0, height - part.shape[-2])
    return F.pad(part, missing, mode='replicate') if any(missing) else part
