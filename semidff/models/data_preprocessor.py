"""Data preprocessor of frames and frame pairs, inherited from the detector."""

import math
from hashlib import sha1

import torch
import torch.nn.functional as F
from mmdet.models.data_preprocessors import BoxInstDataPreprocessor, DetDataPreprocessor
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.registry import MODELS
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from .spatial.head_family import twin


class FrameNormalizer(ImgDataPreprocessor):
    """mmengine's normalization and padding with the same result, in place in the batch's memory.

    It takes a fifth of the time for a frame: 1 ms of 720 x 960 on one core, where a non-key frame
        takes 25 ms.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        data = self.cast_data(data)
        frames, divisor = data['inputs'], self.pad_size_divisor
        height, width = (
            math.ceil(max(frame.shape[axis] for frame in frames) / divisor) * divisor
            for axis in (1, 2)
        )
        dtype = torch.float32
        if self._enable_normalize:
            dtype = torch.promote_types(dtype, self.mean.dtype)
        shape = len(frames), len(frames[0]), height, width
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

    def normalized(self, frames: Tensor) -> Tensor:
        """Return the result for a batch (N, 3, H, W), by operators that a graph can hold."""
        below, right = (-side % self.pad_size_divisor for side in frames.shape[-2:])
        frames = (frames.flip(1) if self._channel_conversion else frames).float()
        if self._enable_normalize:
            frames = (frames - self.mean) / self.std
        return F.pad(frames, (0, right, 0, below), value=float(self.pad_value))


@MODELS.register_module()
class VideoDataPreprocessor(DetDataPreprocessor, FrameNormalizer):
    """mmdet's data preprocessor for frames and frame pairs, with :class:`FrameNormalizer`.

    Frames (3, H, W) are batched to ``inputs`` (N, 3, H, W) as in mmdet. Pairs (2, 3, H, W) of key
    frame and current frame are batched to (N, 2, 3, H, W), triplets with a frame between them to
    (N, 3, 3, H, W); the data samples describe the current frames, which are the last; with
    ``notes_content`` they get the frames' ``digests``.
    """

    notes_content = False

    def send(self, data: dict) -> dict:
        """Return frames of one size as a batch (N, 3, H, W) on the device, not normalized.

        The data samples are those of the whole preprocessing in tests.
        """
        shapes, frames = self._get_pad_shape(data), self.cast_data(data['inputs'])
        samples = [
            sample.new(metainfo=dict(sample.metainfo, batch_input_shape=shape, pad_shape=shape))
            for sample, shape in zip(data['data_samples'], shapes, strict=True)
        ]
        if self.boxtype2tensor:
            samplelist_boxtype2tensor(samples)
        batch = frames[0][None] if len(frames) == 1 else torch.stack(frames)
        return dict(data, inputs=batch, data_samples=samples)

    def forward(self, data: dict, training: bool = False) -> dict:
        inputs = data['inputs']
        if inputs[0].dim() == 3:
            return super().forward(data, training)
        # All current frames come first, since data samples are matched to inputs by their index.
        count = len(inputs[0])
        if self.notes_content:  # ahead of the copy to the device
            for frames, sample in zip(inputs, data['data_samples'], strict=True):
                sample.set_metainfo(dict(digests=[digest_of(frame) for frame in frames]))
        frames = [pair[i] for i in (-1, *range(count - 1)) for pair in inputs]
        data = super().forward(dict(data, inputs=frames), training)
        current, *others = data['inputs'].chunk(count)
        return dict(data, inputs=torch.stack((*others, current), dim=1))


def digest_of(frame: Tensor) -> bytes:
    # With the shape, since black frames in portrait and landscape have the same bytes.
    found = sha1(str(frame.shape).encode(), usedforsecurity=False)
    found.update(frame.cpu().contiguous().numpy())
    return found.digest()


def preprocessor_of(detector: nn.Module, settings: dict | nn.Module | None) -> dict | nn.Module:
    """Return a video detector's data preprocessor: the image detector's, for frame pairs, too.

    Batch augmentations are left out; they need labels and change the frames of a video from batch
    to batch.

    Args:
        detector: The image detector.
        settings: The data preprocessor, or its config, for a detector that has none of its own.
    """
    own = detector.data_preprocessor
    if type(own) in (DetDataPreprocessor, BoxInstDataPreprocessor):  # which adds to labels alone
        own = twin(own, batch_augments=None)
        own.__class__ = VideoDataPreprocessor  # has no state of its own
    if isinstance(own, DetDataPreprocessor):
        return own
    if type(own).__name__ == 'SegDataPreProcessor':  # frames are padded as it pads images in tests
        found = VideoDataPreprocessor(
            bgr_to_rgb=_is_rgb(own),
            pad_value=own.pad_val,
            pad_size_divisor=(own.test_cfg or {}).get('size_divisor') or 1,
        )
        found._enable_normalize = own._enable_normalize
        for name, buffer in own.named_buffers():  # mean and std
            found.register_buffer(name, buffer, persistent=False)
        return found
    if isinstance(settings, dict):
        kept = {key: value for key, value in settings.items() if key != 'batch_augments'}
        return dict(kept, type='VideoDataPreprocessor')
    return settings or own


def normalization(preprocessor: nn.Module) -> dict:
    """Return ``mean``, ``std`` and the ``channels`` (``rgb`` or ``bgr``) of a data preprocessor."""
    mean, std = [0.0], [1.0]
    if getattr(preprocessor, '_enable_normalize', False):
        mean, std = (getattr(preprocessor, name).flatten().tolist() for name in ('mean', 'std'))
    order = 'rgb' if _is_rgb(preprocessor) else 'bgr'
    return dict(mean=mean * (3 // len(mean)), std=std * (3 // len(std)), channels=order)


def _is_rgb(preprocessor: nn.Module) -> bool:
    # Files are read as BGR. No public method tells whether channels are exchanged; the second name
    # is mmsegmentation's.
    names = '_channel_conversion', 'channel_conversion'
    return any(getattr(preprocessor, name, False) for name in names)
