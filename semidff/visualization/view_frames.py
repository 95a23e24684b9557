"""Looking at frames of a video file through a video detector."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from semidff.apis.video_inferencer import VideoInferencer
from semidff.datasets.video_readers import Frame, VideoError, open_stream
from semidff.inference.methods.base import MethodError

from .propagation_view import PairView, view_pair


def view_frames(
    inferencer: VideoInferencer,
    video: str | Path,
    key: int,
    currents: Sequence[int],
    level: int = 0,
) -> list[PairView]:
    """What a video detector propagates from a key frame to other frames of a video.

    Args:
        inferencer (VideoInferencer): With a method that propagates features.
        video (str | Path): A video file or a folder of frames.
        key (int): Number of the key frame, from 0.
        currents (Sequence[int]): Numbers of the current frames, before or after it.
        level (int): Which level of the features is shown.

    Returns:
        list[PairView]: A view for each current frame.

    Raises:
        MethodError: The temporal module has no feature flow.
        VideoError: The video cannot be read, or one of the frames is not in it.
        ValueError: The frames differ in size, or there is no such level.
    """
    model = inferencer.model
    if not hasattr(model.temporal, 'flow_and_scale'):
        raise MethodError(
            f'{type(model.temporal).__name__} has no feature flow (flow_and_scale) to show: give a config whose '
            'temporal module is TemporalModule'
        )
    frames = read_frames(video, [key, *currents])
    return [_view(inferencer, frames[key], frames[current], level) for current in currents]


def read_frames(video: str | Path, numbers: Sequence[int]) -> dict[int, Frame]:
    """Some frames of a video, numbered as :class:`VideoInferencer` does.

    Args:
        video (str | Path): A video file or a folder of frames.
        numbers (Sequence[int]): Their numbers, from 0.

    Raises:
        VideoError: The video cannot be read, or one of the frames is not in it.
    """
    if min(numbers) < 0:
        raise VideoError(video, f'frame {min(numbers)} asked for; frames are numbered from 0')
    stream = open_stream(Path(video))
    last = -1
    frames: dict[int, Frame] = {}
    try:
        for frame in islice(stream, max(numbers) + 1):
            last = frame.index
            if last in numbers:
                frames[last] = frame
    finally:
        stream.close()
    missing = sorted(set(numbers) - frames.keys())
    if missing:
        raise VideoError(
            video, f'frame {missing[0]} asked for, the frames that can be read end with {last}'
        )
    return frames


@torch.no_grad()
def _view(inferencer: VideoInferencer, key: Frame, current: Frame, level: int) -> PairView:
    if key.image.shape != current.image.shape:
        raise ValueError(
            f'frame {key.index} is {key.image.shape[:2]}, frame {current.index} {current.image.shape[:2]}; '
            'features are propagated between frames of one size: choose another key frame'
        )
    batches = [inferencer.preprocess(frame, key_frame_id=key.index) for frame in (key, current)]
    batches = [inferencer.model.data_preprocessor(batch, False) for batch in batches]
    images, samples = ([batch[name] for batch in batches] for name in ('inputs', 'data_samples'))
    shown = np.stack((key.image, current.image))
    return view_pair(inferencer.model, *images, samples[1][0], shown, level=level)
