"""Many videos at the same time, batched."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any

from mmdet.structures import DetDataSample

from semidff.datasets.video_readers import FrameStream
from semidff.datasets.video_readers.read_ahead import made_ahead
from semidff.datasets.video_readers.sources import sources_of
from semidff.inference import StreamState

from .video_inferencer import VideoInferencer


def detect_together(
    inferencer: VideoInferencer,
    inputs: Sequence[Any],
    max_frames: int | None = None,
    fps: float | None = None,
    strict: bool = False,
) -> Iterator[DetDataSample]:
    """Detects in several videos or cameras at a time, one frame of each in a batch.

    Frames of one size go through the network together; results are those of each video alone, but for the rounding of
    batched arithmetic. A video that ends leaves the others running. A camera is waited for.

    Args:
        inferencer (VideoInferencer): With method, key frames and precision.
        inputs (Sequence): The videos, each as :class:`VideoInferencer` takes one.
        max_frames (int | None): How many frames of each video, at most.
        fps (float | None): Frame rate of videos that do not tell theirs.
        strict (bool): Whether frames that cannot be read are an error, not a warning.

    Returns:
        Iterator[DetDataSample]: Results as :class:`VideoInferencer` gives them; those of a video are in order, and
        ``video_id`` is its place in ``inputs``.

    Raises:
        VideoError: A video cannot be opened or holds no frame; with ``strict``, is damaged.
        TypeError: One of the inputs is no video.

    Example:
        >>> for sample in detect_together(inferencer, ['north.mp4', 'south.mp4']):
        ...     sample.video_name, sample.pred_instances
    """
    sources = [source for given in inputs for source in sources_of(given, fps, strict)]
    return _walk(inferencer, sources, max_frames)


def _walk(
    inferencer: VideoInferencer, sources: Sequence, max_frames: int | None
) -> Iterator[DetDataSample]:
    engine = inferencer.engine()
    with ExitStack() as stack:
        live: list[tuple[Iterator[dict], StreamState]] = []
        for video_id, source in enumerate(sources):
            stream = stack.enter_context(closing(source.open()))
            depth = source.depth if inferencer.read_ahead is None else inferencer.read_ahead
            batches = made_ahead(_batches(inferencer, stream, video_id, max_frames), depth)
            live.append((stack.enter_context(closing(batches)), engine.open()))
        while live:
            batches = [next(frames, None) for frames, _ in live]
            ended = [state for (_, state), batch in zip(live, batches, strict=True) if not batch]
            live = [one for one, batch in zip(live, batches, strict=True) if batch]
            batches = [batch for batch in batches if batch]
            for finished in engine.push_batch(batches, [state for _, state in live]):
                yield from finished
            for state in ended:
                yield from engine.flush(state)


def _batches(
    inferencer: VideoInferencer, stream: FrameStream, video_id: int, max_frames: int | None
) -> Iterator[dict]:
    for frame in islice(stream, max_frames):
        yield inferencer.preprocess(frame, video_name=stream.name, video_id=video_id)
