"""Frames for the export and the verification of a model, processed by its test pipeline."""

from collections.abc import Sequence
from contextlib import closing

from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from semidff.analysis.smooth_video import smooth_frames
from semidff.analysis.speed import batch_of
from semidff.datasets.video_readers import open_video
from semidff.inference.loading import frame_pipeline, pair
from semidff.utils.image_detectors import test_datasets


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
        return [batch_of(frame) for frame in smooth_frames(count, *(shape or _scale(cfg)))]
    pipeline = frame_pipeline(cfg)
    with closing(open_video(video)) as reader:
        frames = reader.frames(range(min(count, len(reader))))
        batches = [pseudo_collate([pipeline(dict(img=frame))]) for frame in frames]
    found = tuple(batches[0]['inputs'][0].shape[-2:])
    if shape is not None and found != tuple(shape):
        raise ValueError(
            f'{video}: its frames leave the test pipeline as {found[0]} x {found[1]}, not as {shape[0]} x {shape[1]} '
            f'(height x width); give --shape {found[0]} {found[1]}, or change the scale of the config'
        )
    return batches


def _scale(cfg: Config) -> tuple[int, int]:
    """Height and width of the pipeline's Resize."""
    steps = next(iter(test_datasets(cfg)), {}).get('pipeline') or ()
    scales = [step['scale'] for step in steps if step.get('scale') is not None]
    if not scales:
        raise ValueError(
            f'the test pipeline has no Resize with a scale ({[step["type"] for step in steps]}), so the size of '
            'frames is unknown: give --shape H W or a --video'
        )
    width, height = pair(scales[0])
    return height, width
