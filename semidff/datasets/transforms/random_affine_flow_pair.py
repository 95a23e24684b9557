"""Random affine augmentation of frame pairs with true flow."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from scipy.ndimage import map_coordinates


@TRANSFORMS.register_module()
class RandomAffineFlowPair(BaseTransform):
    """Shift, rotate, scale and crop both frames, with a small additional map of the key frame.

    This follows FlowNet (Dosovitskiy et al. 2015, section 4.3): the shared map changes the pictures, the relative map
    the flow field. The ranges of the shared map are the paper's; those of the relative map are ours. The flow is
    sampled bilinearly, so it is exact where it is smooth and interpolated at motion boundaries.

    Maps are redrawn until the crop lies inside both pictures, so that no border has to be filled. Inputs and outputs
    have the format of :mod:`~semidff.datasets.transforms.flow_transforms`.

    Args:
        crop_size: Height and width of the result.
        translation: Largest shift along x and y, in picture widths.
        rotation: Largest angle in degrees.
        scale: Range of the scale; 2 shows objects twice as large.
        relative_translation: Largest shift of the key frame relative to the current frame, in picture widths.
        relative_rotation: Largest angle of the key frame relative to the current frame, in degrees.
        relative_scale: Range of the scale of the key frame relative to the current frame.
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
        if min(*scale, *relative_scale) <= 0:
            raise ValueError(f'scales must be positive, got {scale} and {relative_scale}')
        self.crop_size = tuple(crop_size)
        self.shared = (translation, rotation, tuple(scale))
        self.relative = (relative_translation, relative_rotation, tuple(relative_scale))
        self.tries = tries

    def transform(self, results: dict) -> dict:
        """Transform ``img`` and ``gt_flow``; set ``img_shape``.

        Raises:
            ValueError: If the pictures are smaller than the crop.
        """
        size = results['gt_flow'].shape[:2]
        if size[0] < self.crop_size[0] or size[1] < self.crop_size[1]:
            raise ValueError(
                f'{results.get("img_path")}: size {size} is less than crop_size={self.crop_size}'
            )
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
        """Draw maps for pictures of a size.

        Returns:
            Two (3, 3) matrices that map the crop's pixels to those of the current frame and of the key frame.
        """
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
        current: (3, 3) affine map from pixels of the new current frame to those of the original one.
        key: The same map of the key frame.
        size: Height and width of the new frames.

    Returns:
        (height, width, 2) float32 flow.
    """
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    start = _apply(current, np.stack((x, y)))
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
    """Draw a (3, 3) map of pixels around ``center`` to rotated, scaled and shifted pixels around ``target``."""
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
