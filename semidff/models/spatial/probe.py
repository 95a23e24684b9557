"""What a detector computes from an image, for settings that follow from it."""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from semidff.utils.model_building import undisturbed

SIZES = (256, 320), (512, 640)


def probe(detector: nn.Module, compute: Callable[[Tensor], Any]) -> tuple[tuple[int, int], Any]:
    """Run a function on random images of a detector's device, without changing anything.

    Returns:
        Height and width of the images (1, 3, H, W), and the result. A small size comes first; convolutions without
        padding, those of SSD512, need a large one.
    """
    for size in SIZES[:-1]:
        try:
            return size, _run(detector, compute, size)
        except RuntimeError:
            continue
    return SIZES[-1], _run(detector, compute, SIZES[-1])


def plain_samples(count: int, size: tuple[int, int]) -> SampleList:
    """Return data samples of frames that have the size (height, width) of the network's input."""
    keys = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    meta = dict.fromkeys(keys, size) | dict(scale_factor=(1.0, 1.0), border=(0,) * 4, flip=False)
    return [DetDataSample(metainfo=meta) for _ in range(count)]


def _run(detector: nn.Module, compute: Callable[[Tensor], Any], size: tuple[int, int]) -> Any:
    parameter = next(detector.parameters())
    with undisturbed(detector):
        torch.manual_seed(0)
        images = torch.rand(1, 3, *size, dtype=parameter.dtype, device='cpu')
        return compute(images.to(parameter.device))
