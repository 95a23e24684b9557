"""The frozen feature network's maps of frames that stage two sees again."""

from collections.abc import Callable
from hashlib import sha1

import torch
from torch import Tensor


class FeatureCache:
    """Calls a frozen feature network once per frame, as far as memory allows.

    Stage two draws its pairs from the same frames again and again, and the feature network, which costs more than the
    temporal module's forward and backward pass, does not change. Frames are known by their content, so that any
    augmentation is right: a frame that it changed is another frame. Once full, the cache keeps what it has. In a
    random order each frame is as likely as the other to come again; where the oldest made room for the newest, none
    would stay long enough.

    Frames go through the network one by one, so that a map does not depend on which frames came with it, and a
    resumed training, whose cache is empty, computes the same.

    Args:
        network: Images (N, 3, H, W) to one map (N, C_l, H_l, W_l) per level.
        gigabytes: Bound on the maps' memory (1 GB = 10^9 bytes); they are kept in the host's.

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
        """Frames whose maps are kept."""
        return len(self._maps)

    def clear(self) -> None:
        """Forgets all maps; call it when the network has changed."""
        self._maps: dict[tuple, tuple[Tensor, ...]] = {}
        self._free = self.size

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The network's maps of images (N, 3, H, W), without gradient."""
        frames = [self._maps_of(image) for image in images.split(1)]
        return tuple(torch.cat(level).to(images.device) for level in zip(*frames, strict=True))

    @torch.no_grad()
    def _maps_of(self, image: Tensor) -> tuple[Tensor, ...]:
        # With the shape: black frames upright and lying have the same bytes.
        content = sha1(image.cpu().contiguous().numpy(), usedforsecurity=False).digest()
        key = (image.shape, content)
        if key in self._maps:
            return self._maps[key]
        maps = tuple(level.cpu() for level in self.network(image))
        size = sum(level.nbytes for level in maps)
        if size <= self._free:
            self._free -= size
            self._maps[key] = maps
        return maps
