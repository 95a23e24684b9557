"""Packing of frames and of frame pairs, the last step of their pipelines."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'border',  # CenterNet, CornerNet
    'video_id',
    'frame_id',
    'video_name',
    'video_length',
    'is_labeled',
)


@TRANSFORMS.register_module()
class PackVideoFrame(BaseTransform):
    """Pack a frame like mmdet's ``PackDetInputs``, with its place in the video.

    ``packer`` makes the data sample; it is ``mmseg.PackSegInputs`` for label maps.
    """

    def __init__(self, packer: str = 'mmdet.PackDetInputs') -> None:
        self.pack = TRANSFORMS.build(dict(type=packer, meta_keys=META_KEYS))

    def transform(self, results: dict) -> dict:
        """Return ``inputs``, uint8 tensor (3, H, W), and ``data_samples`` with the metainfo."""
        return self.pack.transform(results)


@TRANSFORMS.register_module()
class PackFramePair(BaseTransform):
    """Pack a (key frame, current frame) pair, or a triplet with a frame between them.

    Values of the results dict that are a ``list`` of two belong to the two frames, ``[key,
    current]`` (in a triplet: of three); all others belong to the current frame. ``packer``, mmdet's
    ``PackDetInputs`` or ``mmseg.PackSegInputs`` for label maps, makes the data sample of the
    current frame, with its boxes if there are any; ``key_frame_id`` is added to its metainfo.

    Required key: ``img``, a list of two or three (H, W, 3) images of one size. Fractional values
    are rounded and clipped to 0..255.
    """

    def __init__(self, packer: str = 'mmdet.PackDetInputs') -> None:
        meta_keys = (*META_KEYS, 'key_frame_id', 'crop_window')
        self.pack = TRANSFORMS.build(dict(type=packer, meta_keys=meta_keys))

    def transform(self, results: dict) -> dict:
        """Return ``inputs``, uint8 (2 or 3, 3, H, W), and the current frame's ``data_samples``."""
        images = results['img']
        if len(shapes := {image.shape: None for image in images}) > 1:
            raise ValueError(
                f'{results.get("img_path")}: key and current frame differ in size, '
                f'{" and ".join(map(str, shapes))}; random transforms need '
                'TransformBroadcaster(share_random_params=True)'
            )

        def paired(value: object) -> bool:
            return isinstance(value, list) and len(value) == len(images)

        current = {key: value[-1] if paired(value) else value for key, value in results.items()}
        if paired(results.get('frame_id')):
            current['key_frame_id'] = results['frame_id'][0]
        del current['img']
        packed = self.pack.transform(current)
        packed['inputs'] = torch.stack([_tensor(image) for image in images])
        return packed


def _tensor(image: np.ndarray) -> torch.Tensor:
    """Convert (H, W, 3) of any type to (3, H, W) uint8."""
    if image.dtype != np.uint8:
        image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
