"""Frame pairs of unlabeled videos (semi-DFF 3.3), decoded in windows.

Random access to a frame decodes half a group of pictures (GOP, often 250 frames) on average. A
window is a run of ``window`` frames from which ``pairs_per_window`` pairs are drawn and decoded in
one forward pass; only the frames of these pairs are kept. A pair costs about ``(GOP / 2 + window) /
pairs_per_window`` decoded frames. Every worker that receives a pair of a window decodes the window.

A worker keeps ``interleave * pairs_per_window * 2`` frames (4 x 8 x 2 of 1920x1080: 380 MB), at
most ``cache_bytes`` unless a single window is larger, and a few decoders.
"""

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmdet.registry import DATASETS, TASK_UTILS
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from semidff.utils.logs import log_warning

from .intervals import choose_pair
from .samplers import permutation
from .video_list import VideoInfo, load_frames, load_videos
from .video_readers import VideoError, VideoReader, open_video
from .video_readers.video_file import Index

_PAIRS, _SUBSTITUTE, _ORDER, _RECURRING = 11, 12, 13, 14  # Separate the random streams.
_MAX_OPEN = 8  # videos that a worker holds open
_INDEX_BYTES = 128 * 2**20  # of videos that were open before
_SUBSTITUTES = 100  # windows tried in place of a window that cannot be decoded


class _Window(NamedTuple):
    """Decoded window: its pairs or triplets of frame numbers, and its frames by number."""

    video: VideoInfo
    pairs: list[tuple[int, ...]]
    frames: dict[int, np.ndarray]

    @property
    def nbytes(self) -> int:
        return sum(frame.nbytes for frame in self.frames.values())


class _Readers:
    """The open readers; the least recently used is closed first, but its index is kept.

    Decoders belong to the process that opened them: a fork has none.
    """

    def __init__(self) -> None:
        self.opened: OrderedDict[str, VideoReader] = OrderedDict()
        self.pid = os.getpid()
        self._indices: OrderedDict[str, Index] = OrderedDict()

    def __getstate__(self) -> dict:
        return dict(self.__dict__, opened=OrderedDict())

    def __getitem__(self, path: str) -> VideoReader:
        if self.pid != os.getpid():
            self.opened, self.pid = OrderedDict(), os.getpid()
        if path not in self.opened:
            if len(self.opened) >= _MAX_OPEN:
                self._close(*self.opened.popitem(last=False))
            self.opened[path] = open_video(path)
            if path in self._indices:
                self.opened[path].index = self._indices.pop(path)
        self.opened.move_to_end(path)
        return self.opened[path]

    def _close(self, path: str, reader: VideoReader) -> None:
        reader.close()
        if (index := vars(reader).get('index')) is not None:
            self._indices[path] = index
        while sum(index.nbytes for index in self._indices.values()) > _INDEX_BYTES:
            self._indices.popitem(last=False)


@DATASETS.register_module()
class UnlabeledVideoDataset(Dataset):
    """(Key frame, current frame) pairs of unlabeled videos.

    ``max(1, length // window)`` windows tile each video. One pass draws ``pairs_per_window`` pairs
    from every window: videos are weighted by their length. The pairs depend on ``(seed, pass,
    window)`` only. ``dataset[i]`` returns pairs of the first pass in the order of the videos.
    :class:`~semidff.datasets.SampleStream` reads :meth:`stream_item`, where each pass has new pairs
    and a new order: windows are shuffled and ``interleave`` of them alternate, so that neighboring
    samples come from different windows.

    With a list of frames (``lists='frames'``), each listed frame is a window, whose pairs have it
    as the current frame: the authors list 15 frames of each snippet of ImageNet VID.

    A window that cannot be decoded is replaced by another one, deterministically. The first failure
    of a video is logged in each worker; ``failures`` counts all.

    The results dict of the pipeline has lists of two, [key, current], as ``TransformBroadcaster``
    expects, under ``img`` ((H, W, 3) uint8 BGR), ``img_shape``, ``ori_shape``, ``img_path``
    ('video.mp4#000123'), ``frame_id`` (0-based), ``video_name`` and ``video_length``.

    Args:
        ann_file: List of videos or of frames, as ``lists`` says, see
            :mod:`semidff.datasets.video_list`.
        data_prefix: Root of relative paths in the list; default: the list's folder.
        interval: Distribution of the interval, see :mod:`semidff.datasets.intervals`; default:
            uniform from 1 to 9.
        clip_interval: Use the authors' rule at a video's start, see
            :func:`~semidff.datasets.intervals.choose_pair`.
        window: Number of frames from which the current frames of a window are drawn, >= 2; not used
            with frames.
        portion: Share of each video that is used, from its start; the rest is left for a
            validation.
        pairs_per_window: Pairs drawn from a window per pass.
        frames_per_window: If given, all passes pair the same so many frames of a window, whose
            features recur in a :class:`~semidff.models.semi_dff.FeatureCache`: one of the window,
            and others before it, at most ``interval.high`` frames apart.
        triplets: Whether to draw a third frame halfway between the two, for the steady feature loss
            (Table 3b). Odd intervals are shortened by 1, so that the three frames are equally
            spaced; the lists have three entries, [key, middle, current].
        interleave: Number of windows that alternate in the stream.
        cache_bytes: Limit of the decoded frames that a worker keeps.
    """

    def __init__(
        self,
        ann_file: str | Path,
        pipeline: Sequence[dict | Callable] = (),
        data_prefix: str | Path | None = None,
        lists: str = 'videos',
        interval: dict | Any | None = None,
        clip_interval: bool = False,
        window: int = 32,
        portion: float = 1.0,
        pairs_per_window: int = 8,
        frames_per_window: int | None = None,
        triplets: bool = False,
        interleave: int = 4,
        cache_bytes: int = 512 * 2**20,
        metainfo: dict | None = None,
    ) -> None:
        interval = interval or {'type': 'UniformInterval', 'low': 1, 'high': 9}
        self.interval = TASK_UTILS.build(interval) if isinstance(interval, dict) else interval
        self.ann_file, self.data_prefix, self.lists = ann_file, data_prefix, lists
        self.portion = portion
        self.pipeline = Compose(list(pipeline))
        self.clip_interval, self.triplets = clip_interval, triplets
        self.window, self.pairs_per_window, self.interleave = window, pairs_per_window, interleave
        self.cache_bytes, self.frames_per_window = cache_bytes, frames_per_window
        self.failures: Counter[str] = Counter()
        self._metainfo = dict(metainfo or {})
        self._readers = _Readers()
        self._cache: OrderedDict[tuple, _Window] = OrderedDict()
        self._load()

    def full_init(self) -> None:
        """Do nothing; mmengine's wrappers of data sets call it."""

    def _load(self) -> None:
        load = load_frames if self.lists == 'frames' else load_videos
        listed = load(self.ann_file, self.data_prefix)
        if self.lists == 'frames':
            self.videos, self._frames = (list(column) for column in zip(*listed, strict=True))
            counts = [len(frames) for frames in self._frames]
        else:
            self.videos = [
                video._replace(length=max(2, int(video.length * self.portion))) for video in listed
            ]
            counts = [max(1, video.length // self.window) for video in self.videos]
        self._first_window = np.cumsum([0, *counts])

    @property
    def metainfo(self) -> dict:
        return dict(self._metainfo)

    @property
    def num_windows(self) -> int:
        return int(self._first_window[-1])

    def __len__(self) -> int:
        return self.num_windows * self.pairs_per_window

    def __getitem__(self, index: int) -> Any:
        """Return pair ``index`` of the first pass, in the order of the videos."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        slot, pair = divmod(index, self.pairs_per_window)
        return self._item(0, 0, slot, pair)

    def stream_item(self, seed: int, position: int) -> Any:
        """Return the pair at a position (>= 0) of the endless stream of a seed."""
        epoch, place = divmod(position, len(self))
        block, rest = divmod(place, self.interleave * self.pairs_per_window)
        start = block * self.interleave
        in_turn = min(self.interleave, self.num_windows - start)
        pair, turn = divmod(rest, in_turn)
        slot = int(permutation(self.num_windows, _ORDER, seed, epoch)[start + turn])
        return self._item(seed, epoch, slot, pair)

    def _item(self, seed: int, epoch: int, slot: int, pair: int) -> Any:
        window = self._window(seed, epoch, slot)
        video, numbers = window.video, window.pairs[pair]
        # Copied, because transforms may work in place.
        images = [window.frames[number].copy() for number in numbers]
        shapes = [image.shape[:2] for image in images]
        results = dict(
            img=images,
            img_shape=shapes,
            ori_shape=list(shapes),
            img_path=[f'{video.path}#{number:06d}' for number in numbers],
            frame_id=list(numbers),
            video_name=[video.name] * len(numbers),
            video_length=[video.length] * len(numbers),
        )
        return self.pipeline(results)

    def _window(self, seed: int, epoch: int, slot: int) -> _Window:
        """Return a window, whose content does not depend on the cache."""
        key = (seed, epoch, slot)
        if key not in self._cache:
            self._cache[key] = self._decode_or_replace(*key)
            used = sum(kept.nbytes for kept in self._cache.values())
            while used > self.cache_bytes and len(self._cache) > 1:
                used -= self._cache.popitem(last=False)[1].nbytes
        self._cache.move_to_end(key)
        return self._cache[key]

    def _decode_or_replace(self, seed: int, epoch: int, slot: int) -> _Window:
        for attempt in range(_SUBSTITUTES + 1):
            rng = np.random.default_rng((_SUBSTITUTE, seed, epoch, slot, attempt))
            source = int(rng.integers(self.num_windows)) if attempt else slot
            try:
                return self._decode(source, (_PAIRS, seed, epoch, slot, attempt))
            except VideoError as error:
                path = self._locate(source)[0].path
                self.failures[path] += 1
                if self.failures[path] == 1:
                    log_warning(
                        f'{error}; replaced by other pairs ({len(self.failures)} of '
                        f'{len(self.videos)} videos have failed in this process)'
                    )
        raise RuntimeError(
            f'{self.ann_file}: {_SUBSTITUTES + 1} windows in succession could not be decoded; '
            f'failures by video: {self.failures.most_common(5)}'
        )

    def _decode(self, slot: int, seed: tuple[int, ...]) -> _Window:
        video, start, stop = self._locate(slot)
        rng = np.random.default_rng(seed)
        if self.frames_per_window:
            frames = self._recurring(slot, start, stop)
            pairs = [self._recurring_pair(rng, frames) for _ in range(self.pairs_per_window)]
        else:
            pairs = [
                choose_pair(rng, self.interval, start, stop, self.clip_interval)
                for _ in range(self.pairs_per_window)
            ]
        if self.triplets:
            middles = [(key + current + 1) // 2 for key, current in pairs]
            pairs = [
                (2 * m - current, m, current)
                for m, (_, current) in zip(middles, pairs, strict=True)
            ]
        numbers = sorted({number for pair in pairs for number in pair})
        frames = self._readers[video.path].frames(numbers)
        return _Window(video, pairs, dict(zip(numbers, frames, strict=True)))

    def _recurring(self, slot: int, start: int, stop: int) -> np.ndarray:
        rng, longest = np.random.default_rng((_RECURRING, slot)), self.interval.high
        last = int(rng.integers(max(start, min(longest, stop - 1)), stop))
        count = min(self.frames_per_window - 1, longest, last)
        return last - np.append(0, 1 + rng.permutation(min(longest, last))[:count])

    def _recurring_pair(self, rng: np.random.Generator, frames: np.ndarray) -> tuple[int, int]:
        is_still = self.interval.draw(rng) == 0
        key, current = sorted(map(int, rng.choice(frames, 2, replace=False)))
        return (current, current) if is_still else (key, current)

    def _locate(self, slot: int) -> tuple[VideoInfo, int, int]:
        """Return the video of a window, its first frame and the frame after its last."""
        index = int(np.searchsorted(self._first_window, slot, side='right')) - 1
        video, first = self.videos[index], int(self._first_window[index])
        count = int(self._first_window[index + 1]) - first
        inside = slot - first
        if self.lists == 'frames':
            return video, self._frames[index][inside], self._frames[index][inside] + 1
        return video, video.length * inside // count, video.length * (inside + 1) // count
