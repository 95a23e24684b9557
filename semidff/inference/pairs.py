"""Every labeled frame at every distance from its key frame (DFF 5.2)."""

import sys
from typing import Any

from mmdet.structures import DetDataSample
from torch import nn

from semidff.models.video_detector import VideoDetector

from .engine import VideoEngine
from .methods.base import MethodError
from .schedules import FixedSchedule
from .timer import FrameTimer

NEVER_AGAIN = FixedSchedule(sys.maxsize)


class PairEngine:
    """Predicts each labeled frame i from the key frames k = i, i - 1, ..., i - l + 1.

    A frame becomes a key frame only when a labeled frame needs it, and then once; at most l key
    frames are kept.  Where k lies before the video's first frame, that frame is the key frame.

    It is used as :class:`~semidff.inference.VideoEngine`.

    Args:
        model (nn.Module): As the video engine's.
        method (str): A method whose results follow from key frame and current frame alone:
            ``propagate``, ``frame``, ``copy``.
        key_interval (int): Number l of distances; ``frame`` has distance 0 only.
        timer (FrameTimer | None): Where times are collected; a new one by default.

    Raises:
        MethodError: If the method is unknown, depends on the frames in between, or cannot work
            with this model.
    """

    def __init__(
        self,
        model: nn.Module,
        method: str = 'propagate',
        key_interval: int = 10,
        timer: FrameTimer | None = None,
    ) -> None:
        if not isinstance(model, VideoDetector):
            model = VideoDetector.wrap(model)
        count = FixedSchedule(1 if method == 'frame' else key_interval).interval
        timer = timer or FrameTimer(key_interval=count)
        engine = VideoEngine(model, method, schedule=NEVER_AGAIN, timer=timer)
        self._places = [_Place(engine) for _ in range(count)]
        if not engine.method.pairwise:
            raise MethodError(
                f"method {method!r} depends on all frames since the key frame, protocol 'pairs' "
                "looks at two at a time: choose propagate, frame or copy, or protocol 'dense'"
            )

    def reset(self) -> None:
        """Begins a new video."""
        for place in self._places:
            place.clear()

    def push(self, data: dict) -> list[DetDataSample]:
        """Takes the next frame.

        Args:
            data (dict): As the video engine's; the sample has ``frame_id`` (0-based) and, where
                it has no labels, ``is_labeled=False`` in its metainfo.

        Returns:
            list[DetDataSample]: Nothing for a frame without labels, else its l results with
            metainfo ``key_distance`` 0, 1, ..., l - 1.

        Raises:
            ValueError: If one of the l - 1 frames before a labeled frame was not there.
        """
        sample = data['data_samples'][0]
        self._place(sample.frame_id).hold(sample.frame_id, data)
        if not sample.get('is_labeled', True):
            return []
        results: list[DetDataSample] = []
        for distance in range(len(self._places)):
            key_id = sample.frame_id - distance
            # before the first frame: the pair (0, i) once more
            result = self._pair(key_id, data) if key_id >= 0 else results[-1].new()
            result.set_metainfo({'key_distance': distance})
            results.append(result)
        return results

    def flush(self) -> list[DetDataSample]:
        """Nothing: results are complete at once."""
        return []

    def _place(self, frame_id: int) -> '_Place':
        return self._places[frame_id % len(self._places)]

    def _pair(self, key_id: int, data: dict) -> DetDataSample:
        sample, place = data['data_samples'][0], self._place(key_id)
        if place.frame_id != key_id:
            raise ValueError(
                f'frame {sample.frame_id} of video {sample.get("video_name", "?")!r} is labeled, '
                f"but frame {key_id} before it is not in the data: protocol 'pairs' needs the "
                f'{len(self._places) - 1} frames before each labeled one; list them in the json '
                "with is_labeled=false (frame_id counts from 0), or use protocol 'dense'"
            )
        if not place.is_key:
            result = place.become_key()
            if key_id == sample.frame_id:
                return result
        return place.push(data)


class _Place:
    """Room for one of the last l frames, which may become a key frame: the first frame of a stream.

    Args:
        engine (VideoEngine): Takes the first frame of a stream as key frame and no other.
    """

    def __init__(self, engine: VideoEngine) -> None:
        self._engine = engine
        self.clear()

    def clear(self) -> None:
        self.hold(None, None)

    def hold(self, frame_id: int | None, data: dict[str, Any] | None) -> None:
        self.state = self._engine.open()
        self.frame_id, self.data, self.is_key = frame_id, data, False

    def become_key(self) -> DetDataSample:
        """Result of the frame itself."""
        data, self.data, self.is_key = self.data, None, True
        return self.push(data)

    def push(self, data: dict[str, Any]) -> DetDataSample:
        """Result of a frame; the sample stays as it is, to be filled with others."""
        samples = [sample.new() for sample in data['data_samples']]
        return self._engine.push({**data, 'data_samples': samples}, self.state)[0]
