"""Off-the-shelf optical flow, for shallow feature flow, SFF (DFF section 5.2, Table 3).

The paper uses SIFT-Flow; this is OpenCV's DIS (Kroeger et al., ECCV 2016), on the CPU. It has no
weights and passes no gradient. DIS takes 8-bit gray images, so the normalization of the frames is
inverted, exactly.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from .flow_networks import FlowOutput
from .warp import average_pool

# DIS preset, and the settings that differ from it
_PRESETS = {
    'ultrafast': (cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, {}),
    'fast': (cv2.DISOPTICAL_FLOW_PRESET_FAST, {}),
    'medium': (cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, {}),
    'slow': (
        cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        dict(FinestScale=0, GradientDescentIterations=100, VariationalRefinementIterations=20),
    ),
}
_GRAY = (0.299, 0.587, 0.114)  # of red, green and blue


@MODELS.register_module()
class OpenCVFlow(nn.Module):
    """OpenCV's optical flow as the flow network of a temporal module without scale field.

    The flow is estimated on half-size frames, as by the papers' flow networks. The padding of a
    batch is part of the images whose flow is estimated.

    Args:
        preset: ``ultrafast``, ``fast`` or ``medium`` (OpenCV's presets of DIS), or ``slow``: DIS at
            full resolution, with 100 iterations of the patch search and 20 of the variational
            refinement.
        mean, std, rgb: Normalization of the frames and whether their channels are in the order red,
            green, blue; :class:`~semidff.models.video_detector.VideoDetector` gives those of its
            data preprocessor.
    """

    stride = 16
    hidden_channels = 0  # no scale field

    def __init__(
        self,
        *,
        preset: str = 'fast',
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        rgb: bool = True,
    ) -> None:
        super().__init__()
        self.preset = preset
        gray = _GRAY if rgb else _GRAY[::-1]
        self._weights = [g * s for g, s in zip(gray, std, strict=True)]
        self._offset = sum(g * m for g, m in zip(gray, mean, strict=True))

    @torch.no_grad()
    def prepare(self, image: Tensor) -> Tensor:
        """Convert normalized frames (N, 3, H, W) to gray images (N, 1, H / 2, W / 2), uint8."""
        channels = image.float().unbind(1)
        gray = sum(w * c for w, c in zip(self._weights, channels, strict=True)) + self._offset
        gray = average_pool(gray[:, None], 2)
        return gray.round().clamp(0, 255).to(torch.uint8)

    @torch.no_grad()
    def forward(self, current: Tensor, key: Tensor) -> FlowOutput:
        """Estimate the flow (N, 2, ceil(H / 16), ceil(W / 16)) in cells, means of their pixels."""
        pairs = zip(current[:, 0].cpu().numpy(), key[:, 0].cpu().numpy(), strict=True)
        pixels = torch.from_numpy(np.stack([self._estimate(*pair) for pair in pairs]))
        cell = self.stride // 2
        flow = F.avg_pool2d(pixels.permute(0, 3, 1, 2), cell, ceil_mode=True) / cell
        flow = flow.to(current.device)
        return FlowOutput(flow, flow.new_zeros((len(flow), 0, *flow.shape[-2:])), ())

    def _estimate(self, current: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return the flow (h, w, 2) in pixels between two gray images (h, w)."""
        preset, settings = _PRESETS[self.preset]
        # Not kept as an attribute, which could be neither copied nor pickled.
        solver = cv2.DISOpticalFlow_create(preset)
        for name, value in settings.items():
            getattr(solver, f'set{name}')(value)
        return solver.calc(np.ascontiguousarray(current), np.ascontiguousarray(key), None)
