"""Endless stream of training samples, indexed by seed and counter.

:class:`SampleStream` maps ``(seed, counter)`` to a sample;
:class:`~semidff.datasets.samplers.StreamSampler` generates the counters. A sample depends on these
two numbers only, not on the number of workers, the number of processes, the batch size or
interruptions. A run that resumes at counter n continues as if it had never stopped.
"""

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from torch.utils.data import Dataset

from semidff.utils.error_messages import short

_MIX, _ORDER, _SAMPLE = 1, 2, 3  # Separate the random streams.


@DATASETS.register_module()
class SampleStream(Dataset):
    """Endless, random, resumable stream of the samples of one or several datasets.

    Every block of ``sum(ratio)`` counters contains exactly the share of each dataset, shuffled.
    Each pass over a dataset has a new random permutation. A dataset for which random order is too
    expensive defines its own order with a method ``stream_item(seed, position)``, which returns the
    sample at a ``position`` of an endless stream (see
    :class:`~semidff.datasets.UnlabeledVideoDataset`).

    ``random``, ``numpy.random`` and torch's CPU generator are seeded from ``(seed, counter)``
    before a sample is loaded and restored afterwards. Augmentations are thus a function of the
    counter, and the random numbers of a training process that loads its own data are not affected.

    Args:
        datasets: The datasets, or their configs.
        dataset: The only dataset, instead of ``datasets``.
        ratio: Share of each dataset, by default 1; (2, 1) is the papers' ratio of VID and DET.
        max_refetch: Number of other samples to try where a pipeline returns None.

    Raises:
        ValueError: If ``ratio`` does not match the datasets, a dataset is empty, or two have different classes.
    """

    def __init__(
        self,
        datasets: Sequence[dict | Dataset] | None = None,
        dataset: dict | Dataset | None = None,
        ratio: Sequence[int] | None = None,
        max_refetch: int = 100,
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
        for index, dataset in enumerate(self.datasets):
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
            if len(dataset) == 0:
                raise ValueError(
                    f'dataset {index} of the stream ({type(dataset).__name__}) is empty: check its '
                    'ann_file and filter_cfg'
                )
        metainfos = (getattr(dataset, 'metainfo', None) or {} for dataset in self.datasets)
        classes = [tuple(info['classes']) for info in metainfos if info.get('classes')]
        for other in classes[1:]:
            if other != classes[0]:
                raise ValueError(
                    f'the datasets of the stream have different classes, or in another order: {short(classes[0])} and '
                    f'{short(other)}; give all of them metainfo=dict(classes=...)'
                )

    @property
    def metainfo(self) -> dict:
        return copy.deepcopy(getattr(self.datasets[0], 'metainfo', {}))

    def __len__(self) -> int:
        """Return the number of samples of one pass over all datasets; the stream itself is endless."""
        return sum(len(dataset) for dataset in self.datasets)

    def __getitem__(self, item: tuple[int, int]) -> Any:
        """Return the sample of ``(seed, counter)``.

        Raises:
            RuntimeError: If ``max_refetch + 1`` samples in succession were filtered out.
        """
        try:
            seed, counter = (int(value) for value in item)
        except TypeError:
            raise TypeError(
                f'SampleStream is indexed by (seed, counter), got {item!r}; use '
                "sampler=dict(type='StreamSampler')"
            ) from None
        index, position = self.locate(seed, counter)
        for attempt in range(self.max_refetch + 1):
            with _seeded(_SAMPLE, seed, counter, attempt):
                if attempt:
                    position = random.randrange(len(self.datasets[index]))
                dataset = self.datasets[index]
                if hasattr(dataset, 'stream_item'):
                    sample = dataset.stream_item(seed, position)
                else:
                    epoch, place = divmod(position, len(dataset))
                    order = permutation(len(dataset), _ORDER, seed, epoch, index)
                    sample = dataset[int(order[place])]
            if sample is not None:
                return sample
        raise RuntimeError(
            f'{type(self.datasets[index]).__name__}: its pipeline returned None for '
            f'{self.max_refetch + 1} samples in succession; check its filters (minimum sizes, '
            'crops without boxes)'
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
