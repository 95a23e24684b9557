"""Crops of frames whose features are computed, and kept, for the whole frame."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomCropWindow(BaseTransform):
    """Draw the window of a crop, which :class:`~semidff.models.semi_dff.SemiDFF` takes of frames and features.

    The frames stay whole, so that a feature cache knows them again wherever the window lies.

    Required key: ``img``, one image or a list of images of one size. Added key: ``crop_window``, a tuple of top, left,
    height and width in pixels.

    Args:
        crop_size: Height and width of the window in pixels; smaller if the frame is.
        divisor: The window begins at multiples of it: the largest stride of the features.
    """

    def __init__(self, crop_size: tuple[int, int], divisor: int) -> None:
        if min(*crop_size, divisor) < 1:
            raise ValueError(
                f'crop_size and divisor must be positive, got {crop_size} and {divisor}'
            )
        self.crop_size = tuple(crop_size)
        self.divisor = divisor

    def transform(self, results: dict) -> dict:
        """Add ``crop_window``."""
        images = results['img']
        shape = np.array((images[0] if isinstance(images, list) else images).shape[:2])
        size = np.minimum(self.crop_size, shape)
        start = self.divisor * np.random.randint((shape - size) // self.divisor + 1)
        results['crop_window'] = tuple(int(value) for value in (*start, *size))
        return results
