"""Evaluation of labeled frames at every distance from their key frame (DFF section 5.2)."""

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import nn

from .executors import Executor
from .intervals import Frame, Interval
from .methods.base import MethodError, pairwise_methods
from .schedules import FixedSchedule
from .video_engine import VideoEngine


class PairEngine:
    """Predicts each labeled frame i from the key frames k = i, i - 1, ..., i - l + 1.

    Only frames that a labeled frame needs become key frames, and only once; at most l key frames are kept. Where k
    lies before the first frame of the video, the first frame is the key frame. It has the interface of
    :class:`~semidff.inference.VideoEngine`.

    Args:
        method: A method whose results depend on key frame and current frame alone, such as ``propagate``, ``frame`` or
            ``copy``.
        key_interval: Number l of distances; ``frame`` has distance 0 only.
    """

    def __init__(
        self, model: nn.Module | Executor, method: str = 'propagate', key_interval: int = 10
    ) -> None:
        self._interval = FixedSchedule(1 if method == 'frame' else key_interval).interval
        self._method = VideoEngine(model, method).method
        if method not in (able := pairwise_methods()):
            raise MethodError(
                f"method {method!r} depends on all frames since the key frame, but protocol 'pairs' predicts from "
                f"two frames: choose one of {', '.join(able)}, or protocol 'dense'"
            )
        self.reset()

    def reset(self) -> None:
        """Begin a new video."""
        self._frames: dict[int, dict] = {}  # the last l frames that are not key frames yet
        self._keys: dict[int, Interval] = {}  # of the last key frames, by frame number

    def push(self, data: dict) -> SampleList:
        """Process the next frame; return its l results, with metainfo ``key_distance`` 0 to l - 1, if it is labeled.

        ``data`` is as of the video engine; the metainfo of the sample has ``frame_id`` (0-based) and, for a frame
        without labels, ``is_labeled=False``.
        """
        sample = data['data_samples'][0]
        current = sample.frame_id
        self._frames[current] = data
        for kept in (self._frames, self._keys):
            for index in [index for index in kept if index <= current - self._interval]:
                del kept[index]
        if not sample.get('is_labeled', True):
            return []
        results: SampleList = []
        for distance in range(self._interval):
            key = current - distance
            # before the first frame: repeat the pair (0, i)
            result = self._pair(key, data) if key >= 0 else results[-1].new()
            result.set_metainfo({'key_distance': distance})
            results.append(result)
        return results

    def flush(self) -> SampleList:
        """Return nothing: all results were returned by :meth:`push`."""
        return []

    @torch.no_grad()
    def _pair(self, key: int, data: dict) -> DetDataSample:
        sample = data['data_samples'][0]
        if key in self._frames:
            self._keys[key] = Interval()
            (result,) = self._method.key([self._frame(key, 0, self._frames.pop(key))])
            if key == sample.frame_id:
                return result
        if key not in self._keys:
            raise ValueError(
                f'frame {sample.frame_id} of video {sample.get("video_name", "?")!r} is labeled, but frame {key} '
                f"before it is not in the data: protocol 'pairs' needs the {self._interval - 1} frames before each "
                'labeled one; list them in the json with is_labeled=false (frame_id counts from 0), or use protocol '
                "'dense'"
            )
        return self._method.non_key([self._frame(key, sample.frame_id - key, data)])[0]

    def _frame(self, key: int, distance: int, data: dict) -> Frame:
        (sample,) = (sample.new() for sample in data['data_samples'])
        sample.set_metainfo({'is_key_frame': distance == 0})
        shape = tuple(data['inputs'][0].shape)
        return Frame({**data, 'data_samples': [sample]}, shape, self._keys[key], distance)
