"""Average pooling of frames and maps. Pure PyTorch."""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

# Channels from which on torch's kernel for channels-last maps is the faster one.
_VECTOR = 16


def average_pool(maps: Tensor, size: int) -> Tensor:
    """Average squares of ``size`` x ``size`` cells, of maps (N, C, H, W); at the far borders, of what is left of them.

    This is ``F.avg_pool2d(maps, size, ceil_mode=True)``, but for the last digit. torch's kernel for CPUs is vectorized
    only for channels-last maps with many channels: for a contiguous frame of 720 x 960 it takes 7 ms on one core, sums
    of rows and of columns take 0.6 ms.
    """
    slow = maps.device.type == 'cpu' and (maps.is_contiguous() or maps.shape[1] < _VECTOR)
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if not slow or recorded or maps.dtype != torch.float32:
        return F.avg_pool2d(maps, size, ceil_mode=True)
    return _average(_average(maps, size, -2), size, -1)


def _average(maps: Tensor, size: int, dim: int) -> Tensor:
    """Average each ``size`` cells along one axis."""
    count, rest = divmod(maps.shape[dim], size)
    whole, last = maps.split((count * size, rest), dim)
    mean = reduce(torch.add, whole.unflatten(dim, (count, size)).unbind(dim)) / size
    return torch.cat((mean, last.mean(dim, keepdim=True)), dim) if rest else mean
