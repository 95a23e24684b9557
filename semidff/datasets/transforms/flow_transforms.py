"""Transforms of frame pairs with true flow.

``results['img']`` is a list ``[key, current]`` of (H, W, 3) BGR pictures, ``results['gt_flow']``
the (H, W, 2) float32 flow in pixels, x first: the offset of each pixel of the current frame to its
position in the key frame. Random changes draw from numpy's global random state.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.structures import PixelData

from semidff.datasets.video_readers import read_image

from .pack import PackFramePair

Range = Sequence[float]


@TRANSFORMS.register_module()
class LoadFlowPair(BaseTransform):
    """Read pictures and flow (Middlebury .flo) of a pair.

    Required keys: ``img_path`` (list of two, ``[key, current]``), ``flow_path``, ``sample_idx``.
    """

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``gt_flow``, ``img_id``, ``ori_shape`` and ``img_shape``."""
        flow = cv2.readOpticalFlow(results['flow_path'])
        if flow is None:
            raise ValueError(f'{results["flow_path"]}: is not a whole .flo file')
        size = flow.shape[:2]
        return dict(
            results,
            img=[read_image(path) for path in results['img_path']],
            gt_flow=flow,
            img_id=results['sample_idx'],
            ori_shape=size,
            img_shape=size,
        )


@TRANSFORMS.register_module()
class RandomFlipFlowPair(BaseTransform):
    """Mirror pictures and flow along x and along y, each with probability ``prob``."""

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
        direction = (None, 'horizontal', 'vertical', 'diagonal')[horizontal + 2 * vertical]
        return dict(
            results,
            img=images,
            gt_flow=flow,
            flip=direction is not None,
            flip_direction=direction,
        )


@TRANSFORMS.register_module()
class RandomColorFlowPair(BaseTransform):
    """Change color, gamma, contrast and brightness of both frames alike; add independent noise.

    The defaults are FlowNet's (Dosovitskiy et al. 2015, section 4.3). The steps for values v in
    0..1 are: v times a factor per color channel, clipped to 0..1; v to the power of gamma; 0.5 + (v
    - 0.5) (1 + contrast); plus brightness; plus noise.

    Args:
        color: Range of the factors, like ``gamma`` and ``contrast``.
        brightness: Standard deviation of the brightness.
        noise: Largest standard deviation of the noise; that of a pair is uniform between 0 and this
            value.
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
class RandomAffineFlowPair(BaseTransform):
    """Shift, rotate, scale and crop both frames, with a small additional map of the key frame.

    This follows FlowNet (Dosovitskiy et al. 2015, section 4.3): the shared map changes the
    pictures, the relative map the flow field. The ranges of the shared map are the paper's; those
    of the relative map are ours. The flow is sampled bilinearly, so it is exact where it is smooth
    and interpolated at motion boundaries.

    Maps are redrawn until the crop lies inside both pictures, so that no border has to be filled.

    Args:
        crop_size: Height and width of the result.
        translation: Largest shift along x and y, in picture widths.
        rotation: Largest angle in degrees.
        scale: Range of the scale; 2 shows objects twice as large.
        relative_translation: Of the key frame relative to the current frame, as the following.
        tries: Number of draws after which the pair is only cropped, at a random position.
    """

    def __init__(
        self,
        crop_size: Sequence[int],
        translation: float = 0.2,
        rotation: float = 17.0,
        scale: Sequence[float] = (0.9, 2.0),
        relative_translation: float = 0.03,
        relative_rotation: float = 2.0,
        relative_scale: Sequence[float] = (0.97, 1.03),
        tries: int = 50,
    ) -> None:
        self.crop_size = tuple(crop_size)
        self.shared = (translation, rotation, tuple(scale))
        self.relative = (relative_translation, relative_rotation, tuple(relative_scale))
        self.tries = tries

    def transform(self, results: dict) -> dict:
        """Transform ``img`` and ``gt_flow``; set ``img_shape``."""
        size = results['gt_flow'].shape[:2]
        current, key = self.draw(size)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        # OpenCV refuses the negative strides of mirrored images.
        images = [
            cv2.warpAffine(np.ascontiguousarray(image), map_[:2], self.crop_size[::-1], flags=flags)
            for image, map_ in zip(results['img'], (key, current), strict=True)
        ]
        flow = transform_flow(results['gt_flow'], current, key, self.crop_size)
        return dict(results, img=images, gt_flow=flow, img_shape=self.crop_size)

    def draw(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Draw the (3, 3) maps of the crop's pixels to the current frame and to the key frame."""
        middle, crop_middle = ((np.array(s[::-1]) - 1) / 2 for s in (size, self.crop_size))
        for _ in range(self.tries):
            shared = _random_map(crop_middle, middle, size[1], *self.shared)
            relative = _random_map(crop_middle, crop_middle, size[1], *self.relative)
            maps = shared, shared @ relative
            if all(_inside(map_, self.crop_size, size) for map_ in maps):
                return maps
        corner = [np.random.randint(size[i] - self.crop_size[i] + 1) for i in (1, 0)]
        only_cropped = np.array([[1.0, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1]])
        return only_cropped, only_cropped


def transform_flow(
    flow: np.ndarray, current: np.ndarray, key: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Return the flow between two transformed pictures.

    Args:
        flow: (H, W, 2) flow between the original pictures, in pixels.
        current: (3, 3) affine map from pixels of the new current frame to those of the original
            one.
        key: The same map of the key frame.
        size: Height and width of the new frames.

    Returns:
        (height, width, 2) float32 flow.
    """
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    start = _apply(current, np.stack((x, y)))
    from scipy.ndimage import map_coordinates

    offset = [map_coordinates(flow[..., i], start[::-1], order=1, mode='nearest') for i in (0, 1)]
    end = _apply(np.linalg.inv(key), start + np.stack(offset))
    return np.stack((end[0] - x, end[1] - y), axis=-1).astype(np.float32)


def _random_map(
    center: np.ndarray,
    target: np.ndarray,
    width: int,
    translation: float,
    rotation: float,
    scale: tuple[float, float],
) -> np.ndarray:
    """Draw a (3, 3) map that moves ``center`` to ``target``, rotated, scaled and shifted."""
    shift = np.random.uniform(-translation, translation, 2) * width
    angle = np.deg2rad(np.random.uniform(-rotation, rotation))
    factor = 1 / np.random.uniform(*scale)
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, target + shift - turn @ center
    return matrix


def _inside(matrix: np.ndarray, crop: tuple[int, int], size: tuple[int, int]) -> bool:
    right, bottom = crop[1] - 1, crop[0] - 1
    x, y = _apply(matrix, np.array([[0, right, 0, right], [0, 0, bottom, bottom]], float))
    return bool(min(x.min(), y.min()) >= 0 and x.max() <= size[1] - 1 and y.max() <= size[0] - 1)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (2, ...), x first."""
    return np.tensordot(matrix[:2, :2], points, 1) + matrix[:2, 2].reshape(
        2, *[1] * (points.ndim - 1)
    )


@TRANSFORMS.register_module()
class PackFlowPair(PackFramePair):
    """Pack a pair as :class:`~semidff.datasets.PackFramePair`, with the flow in the data sample."""

    def transform(self, results: dict) -> dict:
        """Pack the pair; ``data_samples.gt_flow.data`` is a float32 tensor (2, H, W) in pixels."""
        packed = super().transform(results)
        flow = np.ascontiguousarray(results['gt_flow'].transpose(2, 0, 1), np.float32)
        packed['data_samples'].gt_flow = PixelData(data=torch.from_numpy(flow))
        return packed
