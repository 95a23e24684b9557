"""Endless streams of training samples, and the samplers of streams and of whole videos.

:class:`SampleStream` maps ``(seed, counter)`` to a sample, :class:`StreamSampler` generates the
counters. A sample depends on these two numbers only, not on the number of workers, the number of
processes, the batch size or interruptions. A run that resumes at counter n continues as if it had
never stopped.
"""

import copy
import random
from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Dataset, Sampler

from semidff.utils.error_messages import short

_MIX, _ORDER, _SAMPLE = 1, 2, 3  # Separate the random streams.
_SUBSTITUTES = 100  # samples tried in place of a sample for which the pipeline returns None


@DATASETS.register_module()
class SampleStream(Dataset):
    """Endless, random, resumable stream of the samples of datasets.

    Every block of ``sum(ratio)`` counters contains exactly the share of each dataset, shuffled.
    Each pass over a dataset has a new random permutation. A dataset for which random order is too
    expensive defines its own order with a method ``stream_item(seed, position)``, which returns the
    sample at a ``position`` of an endless stream (see
    :class:`~semidff.datasets.UnlabeledVideoDataset`).

    ``random``, ``numpy.random`` and torch's CPU generator are seeded from ``(seed, counter)``
    before a sample is loaded and restored afterwards. Augmentations are thus a function of the
    counter, and the random numbers of a training process that loads its own data are not affected.

    Args:
        dataset: The only dataset, instead of ``datasets``.
        ratio: Share of each dataset, by default 1; (2, 1) is the papers' ratio of VID and DET.
    """

    def __init__(
        self,
        datasets: Sequence[dict | Dataset] | None = None,
        dataset: dict | Dataset | None = None,
        ratio: Sequence[int] | None = None,
    ) -> None:
        configs = [dataset] if datasets is None else list(datasets)
        self.datasets = [DATASETS.build(c) if isinstance(c, dict) else c for c in configs]
        self.ratio = tuple(ratio or (1,) * len(configs))
        for dataset in self.datasets:
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
        metainfos = (getattr(dataset, 'metainfo', None) or {} for dataset in self.datasets)
        classes = [tuple(info['classes']) for info in metainfos if info.get('classes')]
        if len(set(classes)) > 1:
            listed = ' and '.join(map(short, dict.fromkeys(classes)))
            raise ValueError(f'the datasets have different classes, or in another order: {listed}')

    @property
    def metainfo(self) -> dict:
        return copy.deepcopy(getattr(self.datasets[0], 'metainfo', {}))

    def __len__(self) -> int:
        """Return the number of samples of a pass over all datasets; the stream is endless."""
        return sum(len(dataset) for dataset in self.datasets)

    def __getitem__(self, item: tuple[int, int]) -> Any:
        """Return the sample of ``(seed, counter)``."""
        seed, counter = (int(value) for value in item)
        index, position = self.locate(seed, counter)
        dataset = self.datasets[index]
        for attempt in range(_SUBSTITUTES + 1):
            with _seeded(_SAMPLE, seed, counter, attempt):
                if attempt:
                    position = random.randrange(len(dataset))
                if hasattr(dataset, 'stream_item'):
                    sample = dataset.stream_item(seed, position)
                else:
                    epoch, place = divmod(position, len(dataset))
                    order = permutation(len(dataset), _ORDER, seed, epoch, index)
                    sample = dataset[int(order[place])]
            if sample is not None:
                return sample
        raise RuntimeError(
            f'{type(dataset).__name__}: its pipeline returned None for {_SUBSTITUTES + 1} samples '
            'in succession; check its filters (minimum sizes, crops without boxes)'
        )

    def locate(self, seed: int, counter: int) -> tuple[int, int]:
        """Return the dataset of a counter and its position in the stream of that dataset."""
        block, slot = divmod(counter, sum(self.ratio))
        owners = np.repeat(np.arange(len(self.ratio)), self.ratio)
        owners = np.random.default_rng((_MIX, seed, block)).permutation(owners)
        index = int(owners[slot])
        return index, block * self.ratio[index] + int((owners[:slot] == index).sum())


@lru_cache(maxsize=8)
def permutation(length: int, *key: int) -> np.ndarray:
    """Return the random permutation of ``length`` numbers that a key gives."""
    return np.random.default_rng(key).permutation(length)


@contextmanager
def _seeded(*key: int) -> Iterator[None]:
    """Seed the global CPU generators from ``key`` and restore their states afterwards."""
    state = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    seeds = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(int(seeds[1]))
    # torch.manual_seed would seed the accelerators too.
    torch.default_generator.manual_seed(int(seeds[2]))
    try:
        yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.random.set_rng_state(state[2])


@DATA_SAMPLERS.register_module()
class StreamSampler(Sampler):
    """Endless sampler of the indices ``(seed, counter)`` of a :class:`SampleStream`.

    The i-th sample of a rank has the counter ``(start + i) * world_size + rank``. A global batch
    therefore consists of consecutive counters, like the batch of a single process with a
    ``world_size`` times larger batch size.

    Args:
        dataset: The stream; only its length is used.
        seed: Seed; default: a random one that all ranks share.
        start: Number of samples that each rank has already drawn. The attribute may be set before
            the iteration begins.
    """

    def __init__(self, dataset: Dataset, seed: int | None = None, start: int = 0) -> None:
        self.dataset = dataset
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.start = start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        counter = self.start * self.world_size + self.rank
        while True:
            yield self.seed, counter
            counter += self.world_size

    def __len__(self) -> int:
        """Return the number of samples per rank of a pass; the iteration itself is endless."""
        return -(-len(self.dataset) // self.world_size)

    def skip(self, num_samples: int) -> None:
        """Set ``start``; mmengine's training loop calls this when it resumes."""
        self.start = num_samples


# mmdet's TrackImgSampler requires a BaseVideoDataset, yields (video, frame) tuples that only such a
# dataset accepts, refuses fewer videos than processes, and balances the number of videos, not of
# frames.
@DATA_SAMPLERS.register_module()
class VideoSampler(Sampler):
    """Distribute whole videos over the processes; each process iterates over their frames in order.

    Videos are assigned in order of decreasing length, each to the process with the fewest frames so
    far. The assignment is deterministic, so the processes need not communicate. A process may
    receive no video. ``get_data_info(i)`` of the dataset has ``video_id`` and, if the frames are
    not in order, ``frame_id``.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        rank, world_size = get_dist_info()
        videos = frames_of_videos(dataset)
        shares: list[list[int]] = [[] for _ in range(world_size)]
        frames = [0] * world_size
        for video in sorted(range(len(videos)), key=lambda index: -len(videos[index])):
            least = frames.index(min(frames))
            shares[least].append(video)
            frames[least] += len(videos[video])
        self.indices = [frame for video in sorted(shares[rank]) for frame in videos[video]]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def frames_of_videos(dataset: Sized) -> list[list[int]]:
    """Return the frame indices of each video of a dataset, in order of ``frame_id``."""
    videos: dict[int, list[tuple[int, int]]] = {}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        videos.setdefault(info['video_id'], []).append((info.get('frame_id', index), index))
    return [[index for _, index in sorted(frames)] for frames in videos.values()]
