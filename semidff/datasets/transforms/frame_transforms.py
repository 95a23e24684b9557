"""Transforms of frames and pairs: the original's resizing and mirroring, label maps, crops."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.datasets.transforms import RandomFlip, Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type
from PIL import Image

IGNORED = 255
"""Label of pixels that neither training nor evaluation counts."""


@TRANSFORMS.register_module()
class OriginalFlip(RandomFlip):
    """Mirror an image before resizing; its boxes are first clipped to the last pixel.

    The box from x1 to x2 becomes the box from ``W - 1 - x2`` to ``W - 1 - x1``, one pixel left of
    the result of mmdet's ``RandomFlip``: a box consists of its first and last pixels, counted from
    0.
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

    The factor scales the short side to the smaller number of ``scale`` (in pixels), unless the long
    side then exceeds the larger one. OpenCV rounds the new sides half to even (720 x 0.78125 =
    562.5 becomes 562; mmdet's ``Resize`` gives 563) and samples with exactly this factor. Boxes are
    multiplied by the same factor.
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


@TRANSFORMS.register_module()
class DrawInstances(BaseTransform):
    """Keep each instance with the probability of its score: soft labels for any loss.

    On average, a box of score s is an object with weight s and background with weight 1 - s, so
    that what is trained gets the scores of the labels. With a threshold, mistakes above it would
    become certain. An image whose instances are all left out is replaced by another one. Use it
    ahead of ``LoadAnnotations``.
    """

    def transform(self, results: dict) -> dict | None:
        kept = [one for one in results['instances'] if np.random.random() < one['score']]
        return dict(results, instances=kept) if kept else None


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """Read a frame's label map, a png with the class index of each pixel; 255 is ignored.

    Frames with ``is_labeled=False``, such as key frames of training pairs, have a map of 255 only.

    Required keys: ``seg_map_path``, ``ori_shape``; ``num_classes`` if present limits the class
    indices.
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map`` (H, W) uint8."""
        size = tuple(results['ori_shape'][:2])
        if results.get('is_labeled', True):
            labels = self._read(results['seg_map_path'], size, results.get('num_classes'))
        else:
            labels = np.full(size, IGNORED, np.uint8)
        results['gt_seg_map'] = labels
        results['seg_fields'] = [*results.get('seg_fields', ()), 'gt_seg_map']
        return results

    def _read(self, path: str | None, size: tuple[int, int], num_classes: int | None) -> np.ndarray:
        if path is None:
            raise ValueError(
                'the data set has no folder of label maps; set data_prefix=dict(seg=...)'
            )
        labels = np.array(Image.open(path))
        if labels.shape != size:
            raise ValueError(f'{path}: is {labels.shape}, but a label map of its frame is {size}')
        classes = range(num_classes or IGNORED)
        if wrong := set(np.unique(labels).tolist()).difference(classes, [IGNORED]):
            raise ValueError(
                f'{path}: has the label {min(wrong)}, but the classes are numbered 0 to '
                f'{classes[-1]} (255: ignored)'
            )
        return labels.astype(np.uint8)


@TRANSFORMS.register_module()
class RandomCropWindow(BaseTransform):
    """Draw the window of a crop, which ``SemiDFF`` takes from frames and features.

    The frames stay whole, so that a feature cache knows them again wherever the window lies.

    Required key: ``img``. Added key: ``crop_window``, a tuple of top, left, height and width in
    pixels, one for both frames of a pair inside of ``TransformBroadcaster``.

    Args:
        crop_size: Height and width of the window in pixels; smaller if the frame is.
        divisor: The window begins at multiples of it: the largest stride of the features.
    """

    def __init__(self, crop_size: tuple[int, int], divisor: int) -> None:
        self.crop_size = tuple(crop_size)
        self.divisor = divisor

    def transform(self, results: dict) -> dict:
        """Add ``crop_window``."""
        results['crop_window'] = self._window(results['img'].shape[:2])
        return results

    @cache_randomness
    def _window(self, shape: tuple[int, int]) -> tuple[int, ...]:
        size = np.minimum(self.crop_size, shape)
        start = self.divisor * np.random.randint((np.array(shape) - size) // self.divisor + 1)
        return tuple(int(value) for value in (*start, *size))


@TRANSFORMS.register_module()
class RandomPan(BaseTransform):
    """Crop key frame and current frame at different positions, as if the camera had panned.

    A flow network learns only the motion in its training videos; from static cameras it does not
    learn that a whole scene can move. The offset of the crops is a velocity times the interval. The
    velocity is uniform for each pair, or zero, so that static cameras are learned too.

    Required keys: ``img``, a list [key, current] of (H, W, 3) images of one size, and ``frame_id``,
    a list of their numbers. Changed keys: ``img`` and ``img_shape``. Use it for pairs without
    boxes, outside ``TransformBroadcaster``.

    Args:
        crop_size: Height and width of the crops in pixels; smaller if the frame is.
        max_speed: Largest speed along each axis, in pixels per frame. The frame size limits the
            offset too: frames of the size of the crops give crops at the same position.
        prob: Probability that the camera moves.
    """

    def __init__(self, crop_size: tuple[int, int], max_speed: float, prob: float = 0.5) -> None:
        self.crop_size = tuple(crop_size)
        self.max_speed = max_speed
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Crop the frames."""
        key_number, current_number = results['frame_id']
        shape = np.array(results['img'][0].shape[:2])
        size = np.minimum(self.crop_size, shape)
        margin = shape - size
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
