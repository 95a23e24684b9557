"""Evaluation of labeled frames at every distance from their key frame (DFF section 5.2)."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from mmdet.structures import DetDataSample
from torch import nn

from .methods.base import MethodError, pairwise_methods
from .schedules import FixedSchedule, StreamState
from .timer import FrameTimer
from .video_engine import VideoEngine

_FIRST_ONLY = FixedSchedule(sys.maxsize)


class PairEngine:
    """Predicts each labeled frame i from the key frames k = i, i - 1, ..., i - l + 1.

    Only frames that a labeled frame needs become key frames, and only once; at most l key frames are kept. Where k
    lies before the first frame of the video, the first frame is the key frame. It has the interface of
    :class:`~semidff.inference.VideoEngine`.

    Args:
        method: A method whose results depend on key frame and current frame alone (``pairwise``), such as
            ``propagate``, ``frame`` or ``copy``.
        key_interval: Number l of distances; ``frame`` has distance 0 only.
        timer: Timer that collects the times of frames; a new one by default.
    """

    def __init__(
        self,
        model: nn.Module,
        method: str = 'propagate',
        key_interval: int = 10,
        timer: FrameTimer | None = None,
    ) -> None:
        count = FixedSchedule(1 if method == 'frame' else key_interval).interval
        timer = timer or FrameTimer(key_interval=count)
        engine = VideoEngine(model, method, schedule=_FIRST_ONLY, timer=timer)
        self._engine = engine
        self._slots = [_Slot(engine.open()) for _ in range(count)]
        if not engine.method.pairwise:
            raise MethodError(
                f"method {method!r} depends on all frames since the key frame, but protocol 'pairs' predicts from "
                f"two frames: choose one of {', '.join(pairwise_methods())}, or protocol 'dense'"
            )

    def reset(self) -> None:
        """Begin a new video."""
        self._slots = [_Slot(self._engine.open()) for _ in self._slots]

    def push(self, data: dict) -> list[DetDataSample]:
        """Process the next frame.

        Args:
            data: As of the video engine; the metainfo of the sample has ``frame_id`` (0-based) and, for a frame
                without labels, ``is_labeled=False``.

        Returns:
            The l results of a labeled frame, with metainfo ``key_distance`` 0, 1, ..., l - 1; nothing for other
            frames.

        Raises:
            ValueError: If one of the l - 1 frames before a labeled frame is missing.
        """
        sample = data['data_samples'][0]
        index = sample.frame_id % len(self._slots)
        self._slots[index] = _Slot(self._engine.open(), sample.frame_id, data)
        if not sample.get('is_labeled', True):
            return []
        results: list[DetDataSample] = []
        for distance in range(len(self._slots)):
            key_id = sample.frame_id - distance
            # before the first frame: repeat the pair (0, i)
            result = self._pair(key_id, data) if key_id >= 0 else results[-1].new()
            result.set_metainfo({'key_distance': distance})
            results.append(result)
        return results

    def flush(self) -> list[DetDataSample]:
        """Return nothing: all results were returned by :meth:`push`."""
        return []

    def _pair(self, key_id: int, data: dict) -> DetDataSample:
        sample, slot = data['data_samples'][0], self._slots[key_id % len(self._slots)]
        if slot.frame_id != key_id:
            raise _missing(sample, key_id, len(self._slots))
        if slot.data is not None:
            key_data, slot.data = slot.data, None
            result = self._detect(key_data, slot.state)
            if key_id == sample.frame_id:
                return result
        return self._detect(data, slot.state)

    def _detect(self, data: dict, state: StreamState) -> DetDataSample:
        """Return the result of a frame in a new data sample."""
        samples = [sample.new() for sample in data['data_samples']]
        return self._engine.push({**data, 'data_samples': samples}, state)[0]


def check_preceding_frames(frames: Iterable[dict], key_interval: int) -> None:
    """Check that the l - 1 frames before each labeled frame are there, before a long evaluation.

    Args:
        frames: ``video_id``, ``frame_id`` and, for frames without labels, ``is_labeled=False``.

    Raises:
        ValueError: If one is missing.
    """
    frames = list(frames)
    listed = {(frame['video_id'], frame['frame_id']) for frame in frames}
    for frame in frames:
        first = max(frame['frame_id'] - key_interval + 1, 0)
        for key_id in range(first, frame['frame_id']) if frame.get('is_labeled', True) else ():
            if (frame['video_id'], key_id) not in listed:
                raise _missing(frame, key_id, key_interval)


def _missing(frame: dict | DetDataSample, key_id: int, key_interval: int) -> ValueError:
    return ValueError(
        f'frame {frame.get("frame_id")} of video {frame.get("video_name", "?")!r} is labeled, but '
        f"frame {key_id} before it is not in the data: protocol 'pairs' needs the {key_interval - 1} frames "
        'before each labeled one; list them in the json with is_labeled=false (frame_id counts from '
        "0), or use protocol 'dense'"
    )


@dataclass
class _Slot:
    """One of the last l frames, with its own stream; ``data`` is None once the frame is the stream's key frame."""

    state: StreamState
    frame_id: int | None = None
    data: dict | None = None
