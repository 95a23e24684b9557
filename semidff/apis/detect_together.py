"""Detection in several videos at once, batched."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from mmdet.structures import DetDataSample

from semidff.datasets.video_readers import FrameStream
from semidff.datasets.video_readers.sources import videos_of
from semidff.inference.intervals import IntervalStream
from semidff.inference.outputs import check_limits

from .video_inferencer import VideoInferencer


def detect_together(
    inferencer: VideoInferencer,
    inputs: Sequence[Any],
    max_frames: int | None = None,
    fps: float | None = None,
    strict: bool = False,
) -> Iterator[DetDataSample]:
    """Detect objects in several videos or cameras, with one frame of each in a batch.

    Frames of one size are processed as a batch; the results are those of each video alone up to the rounding
    of batched arithmetic. When a video ends, the others continue. Each batch waits for the slowest camera.

    Args:
        inferencer: Defines model, method, key frames and precision.
        inputs: The videos, each as :class:`VideoInferencer` takes one, as the following arguments.

    Returns:
        Results as of :class:`VideoInferencer`; those of a video are in order, and ``video_id`` is its index in
        ``inputs``.

    Example:
        >>> for sample in detect_together(inferencer, ['north.mp4', 'south.mp4']):
        ...     sample.video_name, sample.pred_instances
    """
    check_limits(fps, max_frames)
    videos = [video for given in inputs for video in videos_of(given)]
    streams = (inferencer.open(video, fps, strict) for video in videos)
    return _results(inferencer, streams, max_frames)


def _results(
    inferencer: VideoInferencer, streams: Iterable[FrameStream], max_frames: int | None
) -> Iterator[DetDataSample]:
    engine = inferencer.engine
    with ExitStack() as stack:
        live: list[tuple[Iterator[tuple], IntervalStream]] = []
        for video_id, stream in enumerate(streams):
            frames = stack.enter_context(inferencer.frames_of(stream, video_id, max_frames))
            live.append((frames, engine.open()))
        while live:
            pairs = [next(frames, None) for frames, _ in live]
            ended = [stream for (_, stream), pair in zip(live, pairs, strict=True) if not pair]
            live = [video for video, pair in zip(live, pairs, strict=True) if pair]
            batches = [pair[1] for pair in pairs if pair]
            for finished in engine.push_batch(batches, [stream for _, stream in live]):
                yield from finished
            for stream in ended:
                yield from engine.flush(stream)
