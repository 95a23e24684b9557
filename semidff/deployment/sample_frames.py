"""Frames to export a model with and to compare it on, as its test pipeline makes them."""

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
    """Collated test batches of one frame each, as :class:`~semidff.inference.VideoEngine` takes them.

    Args:
        cfg: A config with a test pipeline.
        count: How many frames, at most.
        shape: Height and width of the frames behind the pipeline; default: the video's, or else the scale that the
            pipeline resizes to.
        video: A video file or folder of frames; without one, frames are made
            (:func:`~semidff.analysis.smooth_video.smooth_frames`).

    Raises:
        ValueError: If a video's frames leave the pipeline with another shape, or none is known.
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
    """Height and width that the pipeline resizes to."""
    steps = cfg.test_dataloader.dataset.pipeline
    scales = [step['scale'] for step in steps if isinstance(step.get('scale'), list | tuple)]
    if not scales:
        raise ValueError(
            f'the test pipeline has no Resize with a scale ({[step["type"] for step in steps]}), so the size of '
            'frames is not known: give --shape H W or a --video'
        )
    width, height = scales[0]
    return height, width
