"""Cache of the frozen feature network's outputs in stage two."""

from collections.abc import Callable
from hashlib import sha1

import torch
from torch import Tensor


class FeatureCache:
    """Runs a frozen feature network once per frame, as far as memory allows.

    Stage two draws its pairs from the same frames repeatedly, and the frozen feature network costs more than the
    forward and backward pass of the temporal module. The cache's key is a frame's content, so that it is correct with
    any augmentation, and the precision, which the steps of a training may change. Once full, the cache keeps its
    content: in a random order all frames are equally likely to recur, and evicting the oldest ones would leave none
    long enough.

    Frames pass through the network one by one, so that a map does not depend on the batch, and a resumed training,
    which starts with an empty cache, computes the same result.

    Args:
        network: Maps images (N, 3, H, W) to one map (N, C_l, H_l, W_l) per level.
        gigabytes: Bound on the maps' host memory (1 GB = 10^9 bytes).

    Raises:
        ValueError: If ``gigabytes`` is not positive.
    """

    def __init__(self, network: Callable[[Tensor], tuple[Tensor, ...]], gigabytes: float) -> None:
        if not gigabytes > 0:
            raise ValueError(f'gigabytes must be positive, got {gigabytes}')
        self.network = network
        self.size = int(gigabytes * 1e9)
        self.clear()

    def __len__(self) -> int:
        """Return the number of cached frames."""
        return len(self._maps)

    def clear(self) -> None:
        """Empty the cache, after the network has changed."""
        self._maps: dict[tuple, tuple[Tensor, ...]] = {}
        self._free = self.size

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the network's maps of images (N, 3, H, W), without gradient."""
        frames = [self._maps_of(image) for image in images.split(1)]
        return tuple(torch.cat(level).to(images.device) for level in zip(*frames, strict=True))

    @torch.no_grad()
    def _maps_of(self, image: Tensor) -> tuple[Tensor, ...]:
        # With the shape, since black frames in portrait and landscape have the same bytes.
        content = sha1(image.cpu().contiguous().numpy(), usedforsecurity=False).digest()
        kind = image.device.type
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        key = (image.shape, content, half)
        if key in self._maps:
            return self._maps[key]
        maps = tuple(level.cpu() for level in self.network(image))
        size = sum(level.nbytes for level in maps)
        if size <= self._free:
            self._free -= size
            self._maps[key] = maps
        return maps
