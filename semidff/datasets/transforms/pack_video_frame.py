"""Packing of video frames, the last step of their pipeline."""

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
    """Pack a frame as mmdet's ``PackDetInputs`` does, with its place in the video and whether it is labeled.

    Args:
        packer: Transform that makes the data sample; ``mmseg.PackSegInputs`` for label maps.
    """

    def __init__(self, packer: str = 'mmdet.PackDetInputs') -> None:
        self.pack = TRANSFORMS.build(dict(type=packer, meta_keys=META_KEYS))

    def transform(self, results: dict) -> dict:
        """Return ``inputs``, uint8 tensor (3, H, W), and ``data_samples`` with the metainfo that is there."""
        return self.pack.transform(results)
