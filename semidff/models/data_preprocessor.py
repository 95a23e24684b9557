"""Data preprocessor of frames and frame pairs, inherited from the detector."""

import math

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.model import ImgDataPreprocessor
from torch import nn

from .spatial.twin import twin


class FrameNormalizer(ImgDataPreprocessor):
    """mmengine's normalization and padding with the same result, in place in the batch's memory.

    It takes a fifth of the time for a frame: 1 ms of 720 x 960 on one core, where a non-key frame takes 25 ms.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalize and pad ``inputs``, frames (C, H, W) of any sizes, to a batch.

        Raises:
            ValueError: If a frame does not have the channels that are normalized or exchanged.
        """
        data = self.cast_data(data)
        frames, divisor = data['inputs'], self.pad_size_divisor
        height, width = (
            math.ceil(max(frame.shape[axis] for frame in frames) / divisor) * divisor
            for axis in (1, 2)
        )
        channels, dtype = len(frames[0]), torch.float32
        if self._enable_normalize:
            dtype = torch.promote_types(dtype, self.mean.dtype)
        if self._channel_conversion or self._enable_normalize and len(self.mean) == 3:
            channels = 3
        if any(len(frame) != channels for frame in frames):
            raise ValueError(f'frames must have {channels} channels, got {[*map(len, frames)]}')
        shape = len(frames), channels, height, width
        batch = torch.empty(shape, dtype=dtype, device=frames[0].device)
        for i, frame in enumerate(frames):
            place, (rows, columns) = batch[i], frame.shape[1:]
            place[:, rows:] = self.pad_value
            place[:, :rows, columns:] = self.pad_value
            pixels = place[:, :rows, :columns]
            pixels.copy_(frame.flip(0) if self._channel_conversion else frame)
            if self._enable_normalize:
                pixels.sub_(self.mean).div_(self.std)
        return dict(data, inputs=batch, data_samples=data.get('data_samples'))


@MODELS.register_module()
class VideoDataPreprocessor(DetDataPreprocessor, FrameNormalizer):
    """mmdet's data preprocessor, extended to frame pairs.

    Frames (3, H, W) are batched to ``inputs`` (N, 3, H, W) as in mmdet. Pairs (2, 3, H, W) of key frame and current
    frame are batched to ``inputs`` (N, 2, 3, H, W), triplets with a frame between them to (N, 3, 3, H, W); the data
    samples describe the current frames, which are the last. Every frame is
    copied to the device and normalized once.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        inputs = data['inputs']
        if inputs[0].dim() == 3:
            return super().forward(data, training)
        # All current frames come first, since data samples are matched to inputs by their index.
        count = len(inputs[0])
        frames = [pair[i] for i in (-1, *range(count - 1)) for pair in inputs]
        data = super().forward(dict(data, inputs=frames), training)
        current, *others = data['inputs'].chunk(count)
        return dict(data, inputs=torch.stack((*others, current), dim=1))


def inherited_config(detector: dict | nn.Module) -> dict | nn.Module:
    """Return the data preprocessor of a video detector whose config has none: that of its image detector.

    It takes frame pairs, too. Batch augmentations are left out; they need labels and change the frames of a video from
    batch to batch.

    Args:
        detector: The image detector or its config.

    Raises:
        ValueError: If the detector's config has no preprocessor, or one of a kind that cannot take frame pairs.
    """
    if isinstance(detector, nn.Module):
        module = detector.data_preprocessor
        if type(module) is DetDataPreprocessor:
            module = twin(module, batch_augments=None)
            module.__class__ = VideoDataPreprocessor  # has no state of its own
        return module
    if 'data_preprocessor' not in detector:
        raise ValueError(
            'neither the model nor its detector has a data_preprocessor, without which frames are not normalized: set '
            'model.data_preprocessor, without mean and std for a detector of frames from 0 to 255'
        )
    own = dict(detector['data_preprocessor'] or {})
    kind = own.pop('type', 'DetDataPreprocessor')
    kind = kind.__name__ if isinstance(kind, type) else kind.rpartition('.')[2]
    if kind == 'SegDataPreProcessor':
        own = _of_segmentor(own)
    elif kind not in ('DetDataPreprocessor', 'VideoDataPreprocessor'):
        raise ValueError(
            f'the detector has data_preprocessor.type={kind!r}, which does not take frame pairs: set '
            "model.data_preprocessor to a 'VideoDataPreprocessor' with the same normalization"
        )
    own.pop('batch_augments', None)
    return dict(own, type='VideoDataPreprocessor')


def _of_segmentor(own: dict) -> dict:
    """Translate the settings of mmsegmentation's preprocessor; frames are padded as it pads images in tests."""
    padding = own.get('test_cfg') or {}
    if padding.get('size'):
        raise ValueError(
            f'the detector pads all images to the size {padding["size"]}, but videos have frames of any size: set '
            'data_preprocessor.test_cfg=dict(size_divisor=...) or None'
        )
    kept = ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr')
    return {key: own[key] for key in kept if key in own} | dict(
        pad_value=own.get('pad_val', 0), pad_size_divisor=padding.get('size_divisor') or 1
    )


def check_normalization(preprocessor: nn.Module, detector: nn.Module) -> None:
    """Check that frames are normalized as the image detector's own preprocessor normalizes images.

    Args:
        preprocessor: Data preprocessor of the video detector.
        detector: The image detector; one without data preprocessor of its own fits any.

    Raises:
        ValueError: If mean, std, channel order or padding differ.
    """
    own = detector.data_preprocessor
    wanted, found = normalization(own), normalization(preprocessor)
    # Without a config, mmengine gives the detector a BaseDataPreprocessor.
    explicit = isinstance(own, ImgDataPreprocessor)
    orders = channel_order(own), channel_order(preprocessor)
    if wanted != found and (wanted or explicit) or explicit and orders[0] != orders[1]:
        wanted, found = (
            settings or f'nothing (channels {order})'
            for settings, order in zip((wanted, found), orders, strict=True)
        )
        raise ValueError(
            f"model.data_preprocessor normalizes frames with {found}, the detector's own with {wanted}: leave "
            'model.data_preprocessor out to inherit it, or set both alike'
        )
    for name in ('pad_size_divisor', 'pad_value'):
        wanted, found = (getattr(module, name, None) for module in (own, preprocessor))
        # Preprocessors of segmentors have other settings for it.
        if isinstance(own, DetDataPreprocessor) and wanted != found:
            raise ValueError(
                f"model.data_preprocessor has {name}={found}, the detector's own {wanted}, which changes its features: "
                'leave model.data_preprocessor out to inherit it, or set both alike'
            )


def normalization(preprocessor: nn.Module) -> dict | None:
    """Return mean, std and channel order (``rgb`` or ``bgr``) of a data preprocessor; None if it does not normalize,
    or is on the meta device, which has no values.
    """
    if not getattr(preprocessor, '_enable_normalize', False) or preprocessor.mean.is_meta:
        return None
    mean, std = (getattr(preprocessor, name).flatten().tolist() for name in ('mean', 'std'))
    return dict(mean=mean, std=std, channels=channel_order(preprocessor))


def channel_order(preprocessor: nn.Module) -> str:
    """Return the order of the channels after a data preprocessor, ``rgb`` or ``bgr``."""
    # Files are read as BGR; no public method of mmengine's class tells whether channels are exchanged.
    return 'rgb' if getattr(preprocessor, '_channel_conversion', False) else 'bgr'
