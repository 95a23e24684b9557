"""Image and box transforms with the original's conventions, in the order of the pipeline.

Boxes consist of their first and last pixels, counted from 0.
"""

import cv2
from mmdet.datasets.transforms import RandomFlip, Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type


@TRANSFORMS.register_module()
class OriginalFlip(RandomFlip):
    """Mirror an image horizontally before resizing; its boxes are first clipped to the image's last pixel.

    The box from x1 to x2 becomes the box from ``W - 1 - x2`` to ``W - 1 - x1``, one pixel left of the result of mmdet's
    ``RandomFlip``.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob=prob, direction='horizontal')

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        if results.get('gt_bboxes') is not None:
            height, width = results['img'].shape[:2]
            results['gt_bboxes'].clip_((height - 1, width - 1))
        return super().transform(results)

    def _flip(self, results: dict) -> None:
        super()._flip(results)
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].translate_((-1, 0))


@TRANSFORMS.register_module()
class OriginalResize(Resize):
    """Resize with the same factor for both axes and OpenCV's rounding of the size.

    The factor scales the short side to the smaller number of ``scale``, unless the long side then exceeds the larger
    one. OpenCV rounds the new sides half to even (720 x 0.78125 = 562.5 becomes 562; mmdet's ``Resize`` gives 563) and
    samples with exactly this factor. Boxes are multiplied by the same factor.

    Args:
        scale: Long and short side in pixels.
    """

    def __init__(self, scale: tuple[int, int]) -> None:
        super().__init__(scale=scale, keep_ratio=True, clip_object_border=False)

    def _resize_img(self, results: dict) -> None:
        image = results['img']
        longest = max(image.shape[:2])
        factor = min(self.scale) / min(image.shape[:2])
        if round(factor * longest) > max(self.scale):
            factor = max(self.scale) / longest
        results['img'] = cv2.resize(
            image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR
        )
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (factor, factor)
        results['keep_ratio'] = True
