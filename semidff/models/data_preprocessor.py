"""Frames and frame pairs onto the device, normalized and padded."""

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.registry import MODELS


@MODELS.register_module()
class VideoDataPreprocessor(DetDataPreprocessor):
    """mmdet's preprocessor for single frames, that also takes frame pairs.

    A batch of frames (each (3, H, W)) gives ``inputs`` (N, 3, H, W) as in mmdet. A batch of pairs (each (2, 3, H, W):
    key frame, current frame) gives ``inputs`` (N, 2, 3, H, W); the data samples describe the current frames. Every
    frame is sent and normalized once.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalizes, converts and pads a batch; see the class."""
        inputs = data['inputs']
        if inputs[0].dim() == 3:
            return super().forward(data, training)
        # Interleaved frames would pair data samples with the wrong inputs: all current frames come first.
        frames = [pair[1] for pair in inputs] + [pair[0] for pair in inputs]
        data = super().forward(dict(data, inputs=frames), training)
        current, key = data['inputs'].chunk(2)
        return dict(data, inputs=torch.stack((key, current), dim=1))
