"""Transforms of frame pairs with true flow.

``results['img']`` is a list ``[key, current]`` of (H, W, 3) BGR pictures, ``results['gt_flow']`` the (H, W, 2) float32
flow in pixels, x first: the offset of each pixel of the current frame to its position in the key frame. Random changes
draw from numpy's global random state.
"""

from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.structures import PixelData

from .pack_frame_pair import PackFramePair

Range = Sequence[float]


@TRANSFORMS.register_module()
class LoadFlowPair(BaseTransform):
    """Read pictures and flow of a pair.

    Required keys: ``img_path`` (list of two, ``[key, current]``), ``flow_path``, ``sample_idx``.
    """

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``gt_flow``, ``img_id``, ``ori_shape`` and ``img_shape``.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file cannot be read, or the sizes of pictures and flow differ.
        """
        flow = read_flow(results['flow_path'])
        size = flow.shape[:2]
        images = [mmcv.imread(path) for path in results['img_path']]
        for path, image in zip(results['img_path'], images, strict=True):
            if image is None:
                raise ValueError(f'{path}: cannot be read as a picture: copy the file again')
            if image.shape[:2] != size:
                raise ValueError(f"{path}: size {image.shape[:2]} differs from its flow's {size}")
        return dict(
            results,
            img=images,
            gt_flow=flow,
            img_id=results['sample_idx'],
            ori_shape=size,
            img_shape=size,
        )


def read_flow(path: str | Path) -> np.ndarray:
    """Read an (H, W, 2) float32 flow in pixels, x first, from a Middlebury .flo file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not start with 'PIEH', or its length does not match its size.
    """
    content = Path(path).read_bytes()
    if content[:4] != b'PIEH':
        raise ValueError(f'{path}: starts with {content[:4]!r}, a .flo file starts with b"PIEH"')
    width, height = np.frombuffer(content[:12].ljust(12, b'\0'), '<i4', 2, 4).tolist()
    expected = 12 + 8 * width * height
    if width < 1 or height < 1 or len(content) != expected:
        raise ValueError(
            f'{path}: {len(content)} bytes, but a flow of {height} x {width} has {expected}: '
            'copy the file again'
        )
    return np.frombuffer(content, '<f4', offset=12).reshape(height, width, 2).astype(np.float32)


@TRANSFORMS.register_module()
class RandomFlipFlowPair(BaseTransform):
    """Mirror pictures and flow along x and along y, independently.

    Args:
        prob: Probability for each axis.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Mirror; add mmdet's ``flip`` and ``flip_direction``."""
        images, flow = results['img'], results['gt_flow']
        horizontal, vertical = np.random.random(2) < self.prob
        if horizontal:
            images = [image[:, ::-1] for image in images]
            flow = flow[:, ::-1] * np.float32([-1, 1])
        if vertical:
            images = [image[::-1] for image in images]
            flow = flow[::-1] * np.float32([1, -1])
        names = {(True, False): 'horizontal', (False, True): 'vertical', (True, True): 'diagonal'}
        direction = names.get((bool(horizontal), bool(vertical)))
        return dict(
            results,
            img=images,
            gt_flow=flow,
            flip=direction is not None,
            flip_direction=direction,
        )


@TRANSFORMS.register_module()
class RandomColorFlowPair(BaseTransform):
    """Change color, gamma, contrast and brightness of both frames equally, and add independent noise.

    The defaults are FlowNet's (Dosovitskiy et al. 2015, section 4.3). The steps for values v in 0..1 are: v times a
    factor per color channel, clipped to 0..1; v to the power of gamma; 0.5 + (v - 0.5) (1 + contrast); plus
    brightness; plus noise.

    Args:
        color: Range of the factors.
        gamma: Range of gamma.
        contrast: Range of the contrast.
        brightness: Standard deviation of the brightness.
        noise: Largest standard deviation of the noise; that of a pair is uniform between 0 and this value.
    """

    def __init__(
        self,
        color: Range = (0.5, 2.0),
        gamma: Range = (0.7, 1.5),
        contrast: Range = (-0.8, 0.4),
        brightness: float = 0.2,
        noise: float = 0.04,
    ) -> None:
        self.color, self.gamma, self.contrast = tuple(color), tuple(gamma), tuple(contrast)
        self.brightness, self.noise = brightness, noise

    def transform(self, results: dict) -> dict:
        """Change ``img``; the pictures become float32 in 0..255."""
        factors = np.random.uniform(*self.color, 3).astype(np.float32)
        gamma = np.float32(np.random.uniform(*self.gamma))
        contrast = np.float32(1 + np.random.uniform(*self.contrast))
        brightness = np.float32(np.random.normal(0, self.brightness))
        sigma = np.float32(np.random.uniform(0, self.noise))
        images = []
        for image in results['img']:
            value = np.clip(image * (factors / np.float32(255)), 0, 1) ** gamma
            value = (value - np.float32(0.5)) * contrast + (np.float32(0.5) + brightness)
            if sigma > 0:
                value += sigma * np.random.standard_normal(value.shape).astype(np.float32)
            images.append(np.clip(value * np.float32(255), 0, 255))
        return dict(results, img=images)


@TRANSFORMS.register_module()
class PackFlowPair(PackFramePair):
    """Pack a pair as :class:`~semidff.datasets.PackFramePair`, with the flow in the data sample."""

    def transform(self, results: dict) -> dict:
        """Pack the pair; ``data_samples.gt_flow.data`` is a float32 tensor (2, H, W) in pixels."""
        packed = super().transform(results)
        flow = np.ascontiguousarray(results['gt_flow'].transpose(2, 0, 1), np.float32)
        packed['data_samples'].gt_flow = PixelData(data=torch.from_numpy(flow))
        return packed
