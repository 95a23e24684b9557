"""What a detector computes from an image, for settings that follow from it."""

from collections.abc import Callable
from typing import Any

import torch
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


def _run(detector: nn.Module, compute: Callable[[Tensor], Any], size: tuple[int, int]) -> Any:
    parameter = next(detector.parameters())
    with undisturbed(detector):
        torch.manual_seed(0)
        images = torch.rand(1, 3, *size, dtype=parameter.dtype, device='cpu')
        return compute(images.to(parameter.device))
