"""Colors of feature flow, scale field and features: the same in every picture.

Flow has the color wheel of Baker et al. (as torchvision draws it), the scale field a diverging map
whose middle, gray, is one, features and their errors maps of rising lightness.
"""

import math

import matplotlib
import numpy as np
import torch
from torch import Tensor
from torchvision.utils import flow_to_image

SCALE_COLORS = 'coolwarm'
FEATURE_COLORS = 'viridis'
ERROR_COLORS = 'magma'


def flow_colors(flow: Tensor, longest: float | None = None) -> np.ndarray:
    """Feature flow in the colors of the flow wheel: hue is direction, saturation length.

    Args:
        flow (Tensor): (2, h, w), x to the right and y down, in any unit.
        longest (float | None): Length that has full saturation, in the same unit; longer ones have
            it, too. None: the longest there is.

    Returns:
        ndarray: (h, w, 3) uint8, RGB; white is no motion.
    """
    flow = flow.detach().float().cpu()
    lengths = flow.norm(dim=0)
    longest = float(lengths.max()) if longest is None else longest
    flow = flow * (longest / lengths.clamp(min=1e-9)).clamp(max=1)
    # flow_to_image takes the longest vector for full saturation: a further column has it
    measure = torch.zeros_like(flow[..., :1])
    measure[0] = longest
    colored = flow_to_image(torch.cat((flow, measure), dim=-1))
    return colored[..., :-1].permute(1, 2, 0).contiguous().numpy()


def flow_wheel(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The legend of :func:`flow_colors`.

    Args:
        size (int): Diameter in pixels.

    Returns:
        tuple[ndarray, ndarray]: Picture (size, size, 3) uint8, RGB, and which of its pixels are in the
        wheel, (size, size) bool. From the center to its edge is the length of full saturation.
    """
    line = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(line, line, indexing='ij')
    return flow_colors(torch.stack((x, y)), 1.0), (x**2 + y**2 <= 1).numpy()


def channel_mean(features: Tensor) -> np.ndarray:
    """Mean over the channels of features or of a scale field (C, h, w), as an array (h, w)."""
    return features.detach().float().mean(0).cpu().numpy()


def scale_limits(scale: np.ndarray, least: float = 1e-3) -> tuple[float, float]:
    """Values at the ends of a scale field's colors, equally far from one.

    Args:
        scale (ndarray): Means over the channels, (h, w).
        least (float): How far they are from one at least.
    """
    spread = max(float(np.abs(scale - 1).max()), least)
    return 1 - spread, 1 + spread


def feature_limits(*maps: np.ndarray) -> tuple[float, float]:
    """Values at the ends of the colors of features (h, w): all of theirs but the outermost hundredths."""
    low, high = np.percentile(np.concatenate([values.ravel() for values in maps]), (1, 99))
    return float(low), float(high)


def colored(values: np.ndarray, limits: tuple[float, float], colors: str) -> np.ndarray:
    """A map in colors.

    Args:
        values (ndarray): (h, w).
        limits (tuple[float, float]): Values of the first and of the last color.
        colors (str): Name of a color map of matplotlib.

    Returns:
        ndarray: (h, w, 3) uint8, RGB.
    """
    position = (values - limits[0]) / max(limits[1] - limits[0], 1e-12)
    return matplotlib.colormaps[colors](position, bytes=True)[..., :3]


def rounded_up(value: float, least: float) -> float:
    """The smallest of ``least``, 2 ``least``, 4 ``least``, ... that is not below ``value``.

    For colors of a video, which would flicker if each frame had its own scale.
    """
    return least * 2 ** max(0, math.ceil(math.log2(max(value, 1e-9) / least)))
