"""Sampler of an endless stream of samples."""

from collections.abc import Iterator

from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Dataset, Sampler


@DATA_SAMPLERS.register_module()
class StreamSampler(Sampler):
    """Endless sampler of the indices ``(seed, counter)`` of a
    :class:`~semidff.datasets.samplers.SampleStream`.

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
        """Return the number of samples per rank of one pass; the iteration itself is endless."""
        return -(-len(self.dataset) // self.world_size)

    def skip(self, num_samples: int) -> None:
        """Set ``start``; mmengine's training loop calls this when it resumes."""
        self.start = num_samples
