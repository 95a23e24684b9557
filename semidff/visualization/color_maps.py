"""Color maps for feature flow, scale field and features.

Flow uses the color wheel of Baker et al. (torchvision's ``flow_to_image``), the scale field a
diverging map centered at one, features and their errors sequential maps.
"""

import math

import numpy as np
import torch
from torch import Tensor

SCALE_COLORS = 'coolwarm'
FEATURE_COLORS = 'viridis'
ERROR_COLORS = 'magma'


def flow_colors(flow: Tensor, longest: float | None = None) -> np.ndarray:
    """Return feature flow in the colors of the flow wheel: hue is direction, saturation is length.

    Args:
        flow: (2, h, w), x to the right and y down, in any unit.
        longest: Length of full saturation, in the same unit, to which vectors are clipped; None:
            the maximum.

    Returns:
        (h, w, 3) uint8, RGB; white is no motion.
    """
    from torchvision.utils import flow_to_image  # imports for half a second

    flow = flow.detach().float().cpu()
    lengths = flow.norm(dim=0)
    longest = float(lengths.max()) if longest is None else longest
    flow = flow * (longest / lengths.clamp(min=1e-9)).clamp(max=1)
    # flow_to_image normalizes by the longest vector: append a column that has it
    measure = torch.zeros_like(flow[..., :1])
    measure[0] = longest
    colored = flow_to_image(torch.cat((flow, measure), dim=-1))
    return colored[..., :-1].permute(1, 2, 0).contiguous().numpy()


def flow_wheel(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the legend of :func:`flow_colors`, (size, size, 3) uint8 RGB, and its mask."""
    line = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(line, line, indexing='ij')
    return flow_colors(torch.stack((x, y)), 1.0), (x**2 + y**2 <= 1).numpy()


def channel_mean(features: Tensor) -> np.ndarray:
    """Return the mean over channels of features or a scale field (C, h, w), as an array (h, w)."""
    return features.detach().float().mean(0).cpu().numpy()


def scale_limits(scale: np.ndarray, least: float = 1e-3) -> tuple[float, float]:
    """Return color limits of a scale field's means (h, w), symmetric about one."""
    spread = max(float(np.abs(scale - 1).max()), least)
    return 1 - spread, 1 + spread


def feature_limits(*maps: np.ndarray) -> tuple[float, float]:
    """Return common color limits of feature maps (h, w): their 1st and 99th percentile."""
    low, high = np.percentile(np.concatenate([values.ravel() for values in maps]), (1, 99))
    return float(low), float(high)


def colored(values: np.ndarray, limits: tuple[float, float], colors: str) -> np.ndarray:
    """Apply a color map of matplotlib to values (h, w); return (h, w, 3) uint8 RGB."""
    from matplotlib import colormaps

    position = (values - limits[0]) / max(limits[1] - limits[0], 1e-12)
    return colormaps[colors](position, bytes=True)[..., :3]


def rounded_up(value: float, least: float) -> float:
    """Return the first of ``least``, 2 ``least``, 4 ``least``, ... that is not below a value."""
    return least * 2 ** max(0, math.ceil(math.log2(max(value, 1e-9) / least)))
