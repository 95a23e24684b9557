"""Propagation between frames of a video file."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from semidff.datasets.video_readers import Frame, VideoError, open_stream
from semidff.inference.methods.base import MethodError
from semidff.models.video_detector import VideoDetector

from .propagation_view import PairView, view_pair


def view_frames(
    model: VideoDetector,
    pack: Callable[..., dict],
    video: str | Path,
    key: int,
    currents: Sequence[int],
    level: int = 0,
) -> list[PairView]:
    """Propagate features from a key frame of a video to other frames of it.

    Args:
        model: In evaluation mode.
        pack: Returns the collated test batch of a frame: ``pack(frame, **metainfo)``, as
            :meth:`~semidff.apis.VideoInferencer.preprocess`.
        video: A video file or a folder of frames.
        key: Index of the key frame, from 0.
        currents: Indices of the current frames, before or after the key frame.
        level: Level of the features.

    Returns:
        A view for each current frame.

    Raises:
        MethodError: The model has no temporal module, or one without feature flow.
        VideoError: The video cannot be read, or one of the frames is not in it.
        ValueError: The frames differ in size, or there is no such level.
    """
    if not hasattr(model.temporal, 'flow_and_scale'):
        raise MethodError(
            f'{type(model.temporal).__name__} has no feature flow (flow_and_scale) to show: give a config whose '
            'temporal module is TemporalModule'
        )
    frames = read_frames(video, [key, *currents])
    views = []
    for current in currents:
        pair = frames[key], frames[current]
        sizes = [frame.image.shape[:2] for frame in pair]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f'frame {key} is {sizes[0]}, frame {current} {sizes[1]}; '
                'features are propagated between frames of one size: choose another key frame'
            )
        batches = [model.data_preprocessor(pack(f, key_frame_id=key), False) for f in pair]
        images = [batch['inputs'] for batch in batches]
        sample = batches[1]['data_samples'][0]
        shown = np.stack([frame.image for frame in pair])
        views.append(view_pair(model, *images, sample, shown, level=level))
    return views


def read_frames(video: str | Path, indices: Sequence[int]) -> dict[int, Frame]:
    """Read frames of a video by the indices that :class:`~semidff.apis.VideoInferencer` gives them.

    Args:
        video: A video file or a folder of frames.
        indices: Indices of the frames, from 0.

    Raises:
        VideoError: The video cannot be read, or one of the frames is not in it.
    """
    if min(indices) < 0:
        raise VideoError(video, f'frame {min(indices)} asked for; frames are numbered from 0')
    stream = open_stream(Path(video))
    last = -1
    frames: dict[int, Frame] = {}
    try:
        for frame in islice(stream, max(indices) + 1):
            last = frame.index
            if last in indices:
                frames[last] = frame
    finally:
        stream.close()
    missing = sorted(set(indices) - frames.keys())
    if missing:
        raise VideoError(
            video, f'frame {missing[0]} asked for, the frames that can be read end with {last}'
        )
    return frames
