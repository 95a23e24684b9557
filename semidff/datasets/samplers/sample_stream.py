"""Training samples as a function of a counter.

Iteration-based training reads one endless stream of samples. :class:`SampleStream` maps
``(seed, counter)`` to a sample, :class:`StreamSampler` hands the counters out. A sample depends on
these two numbers alone: not on the number of workers, on the cut into processes and batches, or on
whether the run was interrupted. So a run resumed at counter n goes on as if it had never stopped.
"""

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Dataset, Sampler

_MIX, _ORDER, _SAMPLE = 1, 2, 3  # keep the random streams of different purposes apart


@DATASETS.register_module()
class SampleStream(Dataset):
    """An endless, random, resumable stream of one or several datasets' samples.

    Every block of ``sum(ratio)`` counters holds each dataset's share exactly, in a shuffled order.
    Each dataset is gone through in passes, by a new random permutation each. A dataset for which
    random order is too expensive defines its own: a method ``stream_item(seed, position)`` that
    returns the sample at an endless stream's ``position`` (see
    :class:`~semidff.datasets.unlabeled_videos.UnlabeledVideoDataset`).

    ``random``, ``numpy.random`` and torch's CPU generator are seeded from ``(seed, counter)``
    before a sample is made and put back afterwards, so that the augmentation is a function of the
    counter and the random numbers of the training process stay undisturbed when it loads the data
    itself.

    Args:
        datasets (Sequence[dict | Dataset], optional): The datasets, or their configs.
        dataset (dict | Dataset, optional): The only dataset, instead of ``datasets``.
        ratio (Sequence[int], optional): Share of each dataset, by default 1 each; (2, 1) is the
            papers' mixing of VID and DET.
        max_refetch (int): Other samples tried where a pipeline returns None.
        lazy_init (bool): Leave loading the annotations to :meth:`full_init`.

    Raises:
        ValueError: ``ratio`` does not fit the datasets, or a dataset is empty.
    """

    def __init__(
        self,
        datasets: Sequence[dict | Dataset] | None = None,
        dataset: dict | Dataset | None = None,
        ratio: Sequence[int] | None = None,
        max_refetch: int = 100,
        lazy_init: bool = False,
    ) -> None:
        if (datasets is None) == (dataset is None):
            raise ValueError('SampleStream takes either datasets=[...] or dataset=...')
        configs = [dataset] if datasets is None else list(datasets)
        self.ratio = tuple(ratio) if ratio is not None else (1,) * len(configs)
        if len(self.ratio) != len(configs) or not configs:
            raise ValueError(f'ratio={self.ratio} does not fit {len(configs)} datasets')
        if any(not isinstance(share, int) or share < 1 for share in self.ratio):
            raise ValueError(f'ratio needs integers of at least 1, got {self.ratio}')
        self.datasets = [DATASETS.build(c) if isinstance(c, dict) else c for c in configs]
        self.max_refetch = max_refetch
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Loads the annotations of every dataset."""
        if self._fully_initialized:
            return
        for index, dataset in enumerate(self.datasets):
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
            if len(dataset) == 0:
                raise ValueError(
                    f'dataset {index} of the stream ({type(dataset).__name__}) is empty: see its '
                    'ann_file and filter_cfg'
                )
        self._fully_initialized = True

    @property
    def metainfo(self) -> dict:
        """Meta information of the first dataset."""
        return copy.deepcopy(getattr(self.datasets[0], 'metainfo', {}))

    def __len__(self) -> int:
        """Samples of one pass through all datasets; the stream itself does not end."""
        return sum(len(dataset) for dataset in self.datasets)

    def __getitem__(self, item: tuple[int, int]) -> Any:
        """The sample of ``(seed, counter)``, see :class:`StreamSampler`.

        Raises:
            RuntimeError: ``max_refetch + 1`` samples in succession were filtered out.
        """
        try:
            seed, counter = (int(value) for value in item)
        except TypeError:
            raise TypeError(
                f'SampleStream is indexed by (seed, counter), got {item!r}; use '
                "sampler=dict(type='StreamSampler')"
            ) from None
        self.full_init()
        index, position = self.locate(seed, counter)
        for attempt in range(self.max_refetch + 1):
            with _seeded(_SAMPLE, seed, counter, attempt):
                if attempt:
                    position = random.randrange(len(self.datasets[index]))
                sample = self._sample(seed, index, position)
            if sample is not None:
                return sample
        raise RuntimeError(
            f'{type(self.datasets[index]).__name__}: its pipeline returned None for '
            f'{self.max_refetch + 1} samples in succession; see its filters (min sizes, crops '
            'without boxes)'
        )

    def locate(self, seed: int, counter: int) -> tuple[int, int]:
        """Which dataset a counter belongs to, and its position in that dataset's own stream."""
        block, slot = divmod(counter, sum(self.ratio))
        owners = np.repeat(np.arange(len(self.ratio)), self.ratio)
        owners = np.random.default_rng((_MIX, seed, block)).permutation(owners)
        index = int(owners[slot])
        return index, block * self.ratio[index] + int((owners[:slot] == index).sum())

    def _sample(self, seed: int, index: int, position: int) -> Any:
        dataset = self.datasets[index]
        if hasattr(dataset, 'stream_item'):
            return dataset.stream_item(seed, position)
        epoch, place = divmod(position, len(dataset))
        return dataset[int(_permutation(len(dataset), seed, epoch, index)[place])]


@DATA_SAMPLERS.register_module()
class StreamSampler(Sampler):
    """Hands out ``(seed, counter)`` for :class:`SampleStream`, without end.

    The i-th sample of a rank has the counter ``(start + i) * world_size + rank``: a global batch is
    a run of consecutive counters, the same one that a single process with a batch ``world_size``
    times as large would read.

    Args:
        dataset (SampleStream): The stream; only its length is used.
        seed (int, optional): By default a random one that all ranks share.
        start (int): Samples that each rank has already taken, to go on from there.

    Attributes:
        start (int): As the argument; may be set before iterating begins.
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
        """Samples per rank of one pass, for progress displays; iterating never ends."""
        return -(-len(self.dataset) // self.world_size)

    def skip(self, num_samples: int) -> None:
        """Sets ``start``: mmengine's training loop calls this when it resumes."""
        self.start = num_samples


@lru_cache(maxsize=8)
def _permutation(length: int, seed: int, epoch: int, index: int) -> np.ndarray:
    return np.random.default_rng((_ORDER, seed, epoch, index)).permutation(length)


@contextmanager
def _seeded(*key: int) -> Iterator[None]:
    """Seeds the global CPU generators from ``key`` and restores their state afterwards."""
    state = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    seeds = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(int(seeds[1]))
    # torch.manual_seed would seed the accelerators too, which make no data.
    torch.default_generator.manual_seed(int(seeds[2]))
    try:
        yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.random.set_rng_state(state[2])
