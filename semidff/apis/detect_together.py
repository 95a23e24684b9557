"""Detection in several videos at once, batched."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from mmdet.structures import DetDataSample

from semidff.datasets.video_readers.sources import videos_of
from semidff.inference.outputs import check_limits

from .failures import Failures
from .video_inferencer import VideoInferencer

_PATIENCE = 0.2  # seconds that a batch waits for the frame of a camera


def detect_together(
    inferencer: VideoInferencer,
    inputs: Sequence[Any],
    max_frames: int | None = None,
    fps: float | None = None,
    strict: bool = False,
) -> Iterator[DetDataSample]:
    """Detect objects in several videos or cameras, whose next frames are a batch.

    Frames of one size are processed as a batch; the results are those of each video alone up to the
    rounding of batched arithmetic. When a video ends or fails, the others continue; an error behind
    their results names the failed videos. A batch waits for each camera, except cameras without a
    frame in the last batch.

    Args:
        inferencer: Defines model, method, key frames and precision.
        inputs: The videos, each as :class:`VideoInferencer` takes one, as the following arguments.

    Returns:
        Results as of :class:`VideoInferencer`; those of a video are in order, and ``video_id`` is
        its index in ``inputs``.

    Example:
        >>> for sample in detect_together(inferencer, ['north.mp4', 'south.mp4']):
        ...     sample.video_name, sample.pred_instances
    """
    check_limits(fps, max_frames)
    videos = [video for given in inputs for video in videos_of(given)]
    return _results(inferencer, videos, max_frames, fps=fps, strict=strict)


def _results(
    inferencer: VideoInferencer, inputs: Sequence[Any], max_frames: int | None, **options: Any
) -> Iterator[DetDataSample]:
    stages, failures = inferencer.stages, Failures(inferencer.model, len(inputs))
    together, sources = stages.together(), {}
    with ExitStack() as stack:
        for video_id, given in enumerate(inputs):
            with failures.skipped(given):
                source = inferencer.open(given, **options)
                frames = stack.enter_context(inferencer.frames_of(source, video_id, max_frames))
                sources[together.open(frames)] = source
        ready = together.streams
        while streams := together.streams:
            patient = ready or streams
            ready = [s for s in streams if sources[s].ready(_PATIENCE if s in patient else 0)]
            for stream in ready:
                with failures.skipped(sources[stream].path):
                    stream.read()
            yield from (frame.sample for frame in together.work())
            ready = [stream for stream in ready if not stream.ended]
    failures.check()
