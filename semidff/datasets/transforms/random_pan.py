"""Simulation of a moving camera in videos of a static one."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomPan(BaseTransform):
    """Crop key frame and current frame at different positions, as if the camera had panned.

    A flow network learns only the motion in its training videos; from static cameras it does not learn that a whole
    scene can move. The offset of the crops is a velocity times the interval. The velocity is uniform for each pair, or
    zero, so that static cameras are learned too.

    Required keys: ``img``, a list [key, current] of (H, W, 3) images of one size, and ``frame_id``, a list of their
    numbers. Changed keys: ``img`` and ``img_shape``. Use it for pairs without boxes, outside ``TransformBroadcaster``.

    Args:
        crop_size: Height and width of the crops in pixels; smaller if the frame is.
        max_speed: Largest speed along each axis, in pixels per frame. The frame size limits the offset too: frames of
            the size of the crops give crops at the same position.
        prob: Probability that the camera moves.
    """

    def __init__(self, crop_size: tuple[int, int], max_speed: float, prob: float = 0.5) -> None:
        if min(crop_size) < 1 or max_speed < 0 or not 0 <= prob <= 1:
            raise ValueError(
                f'crop_size needs positive sides, max_speed at least 0 and prob from 0 to 1, '
                f'got {crop_size}, {max_speed}, {prob}'
            )
        self.crop_size = tuple(crop_size)
        self.max_speed = max_speed
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Crop the frames.

        Raises:
            ValueError: If the frames differ in size.
        """
        shapes = [image.shape[:2] for image in results['img']]
        if len(set(shapes)) > 1:
            raise ValueError(
                f'{results.get("img_path")}: frames of one pair differ in size: {shapes}'
            )
        key_number, current_number = results['frame_id']
        size = np.minimum(self.crop_size, shapes[0])
        margin = np.array(shapes[0]) - size
        velocity = np.random.uniform(-self.max_speed, self.max_speed, 2)
        velocity *= np.random.uniform() < self.prob
        shift = np.rint(velocity * (current_number - key_number)).astype(int).clip(-margin, margin)
        start = np.random.randint(np.maximum(0, -shift), margin - np.maximum(0, shift) + 1)
        results['img'] = [
            image[top : top + size[0], left : left + size[1]]
            for image, (top, left) in zip(results['img'], (start, start + shift), strict=True)
        ]
        results['img_shape'] = [image.shape[:2] for image in results['img']]
        return results
