"""Frames for the export and the verification of a model, processed by its test pipeline."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from semidff.analysis.smooth_video import smooth_frames
from semidff.datasets.video_readers import open_video
from semidff.inference.frame_pipeline import frame_pipeline


def sample_batches(
    cfg: Config, count: int, shape: Sequence[int] | None = None, video: str | None = None
) -> list[dict]:
    """Make collated test batches of one frame each for :class:`~semidff.inference.VideoEngine`.

    Args:
        cfg: A config with a test pipeline.
        count: Largest number of frames.
        shape: Height and width of the frames after the pipeline; by default that of the video's frames, or without a
            video the scale of the pipeline's Resize.
        video: A video file or folder of frames; None: synthetic frames
            (:func:`~semidff.analysis.smooth_video.smooth_frames`).

    Raises:
        ValueError: If a video's frames have another shape after the pipeline, or no shape is known.
        VideoError: If the video cannot be read.
    """
    if video is None:
        return [_batch(i, f) for i, f in enumerate(smooth_frames(count, *(shape or _scale(cfg))))]
    pipeline = frame_pipeline(cfg)
    batches = [_batch(i, f, pipeline) for i, f in enumerate(_read(video, count))]
    found = tuple(batches[0]['inputs'][0].shape[-2:])
    if shape is not None and found != tuple(shape):
        raise ValueError(
            f'{video}: its frames leave the test pipeline as {found[0]} x {found[1]}, not as {shape[0]} x {shape[1]} '
            f'(height x width); give --shape {found[0]} {found[1]}, or change the scale of the config'
        )
    return batches


def _batch(index: int, frame: np.ndarray, pipeline: Callable | None = None) -> dict:
    if pipeline is None:
        size = frame.shape[:2]
        image = torch.from_numpy(frame.transpose(2, 0, 1).copy())
        sample = DetDataSample(metainfo=dict(img_shape=size, scale_factor=(1.0, 1.0)))
        packed = dict(inputs=image, data_samples=sample)
    else:
        packed = pipeline(dict(img=frame))
    packed['data_samples'].set_metainfo(dict(frame_id=index, ori_shape=frame.shape[:2]))
    return pseudo_collate([packed])


def _read(video: str, count: int) -> list[np.ndarray]:
    reader = open_video(video)
    try:
        return list(reader.frames(range(min(count, len(reader)))))
    finally:
        reader.close()


def _scale(cfg: Config) -> tuple[int, int]:
    """Height and width of the pipeline's Resize."""
    steps = cfg.test_dataloader.dataset.pipeline
    scales = [step['scale'] for step in steps if isinstance(step.get('scale'), list | tuple)]
    if not scales:
        raise ValueError(
            f'the test pipeline has no Resize with a scale ({[step["type"] for step in steps]}), so the size of '
            'frames is unknown: give --shape H W or a --video'
        )
    width, height = scales[0]
    return height, width
