"""Feature propagation by bilinear warping (DFF Eq. 1-3), and the geometry of feature levels.

Pure PyTorch. Two properties, which other ports of DFF lack, hold exactly: ``warp(x, 0) == x``, and
a flow of whole cells moves whole cells. ``grid_sample`` takes positions normalized to [-1, 1], and
for maps of arbitrary size neither corner convention maps a cell back onto itself without rounding
errors. Therefore the map is padded to sides that are powers of two, for which normalization and its
inverse are exact in floating point. The zeros of the padding are the values that DFF's kernel reads
outside the map.

In predictions on CPUs, ``embedding_bag`` replaces ``grid_sample`` for channels-last maps of many
channels: a cell is the weighted sum of four rows of the map. This takes a ninth of the time, and
the result is channels-last too. Recorded graphs gather and add the rows (:func:`recording`).

Cell ``i`` of a map of stride ``s`` is centered at pixel ``(i + 0.5) s`` of the frame. Maps with
sides rounded up extend beyond the frame by different amounts, so that resizing one map to the size
of another misaligns them: at height 600 by up to 27 pixels for a level of stride 64. :func:`align`
samples a field at the cells of a level instead.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, reduce, wraps
from threading import local

import torch
import torch.nn.functional as F
from torch import Tensor

# Channels from which on sums of rows are faster than ``grid_sample``.
_MANY = 64
# Channels from which on torch's average pooling of channels-last maps is the faster one.
_VECTOR = 16

_Constants = Callable[..., tuple[Tensor, ...]]
_RECORDING = local()


@contextmanager
def recording() -> Iterator[None]:
    """While it lasts, this thread records a graph."""
    _RECORDING.now = True
    try:
        yield
    finally:
        _RECORDING.now = False


def is_recorded() -> bool:
    return getattr(_RECORDING, 'now', False)


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Warp key-frame features to the current frame.

    Args:
        features: Key-frame features (N, C, H, W), or (1, C, H, W) if all frames have the same key
            frame; bilinear interpolation takes cells outside the map for zero.
        flow: Feature flow (N, 2, H, W) in cells: for each cell of the *current* frame, the offset
            (x, y) to its position in the *key* frame.
    """
    n, _, height, width = features.shape
    if flow.shape[1:] != (2, height, width) or n not in (1, len(flow)):
        raise ValueError(
            f'the feature flow must have shape {(n, 2, height, width)} to warp features of shape '
            f'{tuple(features.shape)}, got {tuple(flow.shape)}'
        )
    precise = features.dtype.itemsize > 2  # half precision is too coarse for positions
    return MapSampler(flow.to(features.dtype) if precise else flow.float())(features)


def constants(function: _Constants) -> _Constants:
    """Decorate a function of hashable arguments, to keep the tensors that it returns.

    Nobody may change them. A graph that is compiled or exported gets tensors of its own.
    """
    kept = lru_cache(maxsize=64)(function)

    @wraps(function)
    def find(*key: object) -> tuple[Tensor, ...]:
        if torch.compiler.is_compiling() or is_recorded():
            return function(*key)
        with torch.inference_mode(False):  # usable in training, too
            return kept(*key)

    return find


class MapSampler:
    """Samples maps of key frames, (N, C, H, W) or (1, C, H, W), where a flow points.

    The flow is that of :func:`warp`; with ``border``, cells outside the map repeat its border
    instead of being zero.
    """

    def __init__(self, flow: Tensor, border: bool = False) -> None:
        flow = flow if flow.dtype.itemsize > 2 else flow.float()
        cells, self._last, *self._normalize = _cells(*flow.shape[-2:], flow.device, flow.dtype)
        self._position = flow + cells
        if border:
            self._position = self._position.clamp(min=0).minimum(self._last)
        # Made by the first call and shared by all levels of the flow's size.
        self._grid = self._rows = None

    def __call__(self, features: Tensor) -> Tensor:
        # At least float32, under autocast too: half precision is too coarse for positions in a map
        # of 64 cells.
        maps = features if features.dtype.itemsize > 2 else features.float()
        in_rows = maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
        recorded = torch.is_grad_enabled() or torch.compiler.is_compiling()
        on_cpu = maps.device.type == 'cpu' and maps.shape[1] >= _MANY
        if is_recorded() or (on_cpu and in_rows and not recorded):
            sampled = self._sum_rows(maps)
        else:
            sampled = self._sample_grid(maps)
        return sampled.to(features.dtype)

    def _sample_grid(self, maps: Tensor) -> Tensor:
        if self._grid is None:
            # Positions (N, H, W, 2) in the padded map, normalized to [-1, 1].
            factor, minus_one = self._normalize
            grid = torch.addcmul(minus_one, self._position + 0.5, factor)
            self._grid = grid.permute(0, 2, 3, 1)
        height, width = maps.shape[-2:]
        right, below = ((1 << (side - 1).bit_length()) - side for side in (width, height))
        padded = F.pad(maps, (0, right, 0, below))
        if len(padded) < len(self._grid):
            padded = padded.expand(len(self._grid), -1, -1, -1)
        return F.grid_sample(
            padded,
            self._grid.to(maps.dtype),
            mode='bilinear',
            padding_mode='zeros',
            align_corners=False,
        )

    def _sum_rows(self, maps: Tensor) -> Tensor:
        if self._rows is None:
            self._rows = self._make_rows(len(maps))
        channels, height, width = maps.shape[1:]
        rows, weights = self._rows[0], self._rows[1].to(maps.dtype)
        table = maps.permute(0, 2, 3, 1).reshape(-1, channels)
        if is_recorded():
            corners = zip(rows.unbind(1), weights.split(1, 1), strict=True)
            cells = sum(table.index_select(0, row) * weight for row, weight in corners)
        else:
            cells = F.embedding_bag(rows, table, mode='sum', per_sample_weights=weights)
        return cells.view(-1, height, width, channels).permute(0, 3, 1, 2)

    def _make_rows(self, keys: int) -> tuple[Tensor, Tensor]:
        """Return the four cells around each position, and weights, both (N * H * W, 4)."""
        height, width = self._position.shape[-2:]
        low = self._position.floor()
        near = torch.stack((low, low + 1), -1)
        weights = torch.stack((low + 1 - self._position, self._position - low), -1)
        last = self._last[..., None]
        weights = weights * ((near >= 0) & (near <= last))
        x, y = near.long().clamp(min=0).minimum(last.long()).unbind(1)
        first = torch.arange(keys, device=x.device).view(keys, 1, 1, 1, 1) * (height * width)
        rows = first + y[..., None] * width + x[..., None, :]
        of_x, of_y = weights.unbind(1)
        return rows.view(-1, 4), (of_y[..., None] * of_x[..., None, :]).view(-1, 4)


@constants
def _cells(
    height: int, width: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Coordinates (2, H, W) of the cells, the last ones, and the map of positions to [-1, 1]."""
    y = torch.arange(height, device=device, dtype=dtype)[:, None].expand(-1, width)
    x = torch.arange(width, device=device, dtype=dtype).expand(height, -1)
    padded = [1 << (side - 1).bit_length() for side in (width, height)]  # powers of two
    factor = 2 / torch.tensor(padded, device=device, dtype=dtype).view(2, 1, 1)
    last = torch.tensor([width - 1, height - 1], device=device, dtype=dtype).view(2, 1, 1)
    return torch.stack((x, y)), last, factor, torch.full_like(factor, -1)


def align(field: Tensor, stride: float, level_stride: float, size: Sequence[int]) -> Tensor:
    """Sample a field at the cells of a level: bilinearly at finer, averaged at coarser levels.

    Args:
        field: Feature flow or scale field (N, C, h, w), in any unit.
        stride, level_stride: Strides of the field and of the level in pixels.
        size: Height and width of the level in cells.

    Returns:
        Tensor of shape (N, C, *size); ``field`` itself if it has this stride and size. Cells of the
        level outside the field repeat the field's border.
    """
    height, width = size
    ratio, inverse = level_stride / stride, stride / level_stride
    if ratio != int(ratio) and inverse != int(inverse):
        return _interpolate(_interpolate(field, -1, ratio, width), -2, ratio, height)
    if ratio > 1:
        field = average_pool(field, int(ratio))
    elif ratio < 1:
        field = F.interpolate(field, scale_factor=inverse, mode='bilinear', align_corners=False)
    beyond = (0, max(width - field.shape[-1], 0), 0, max(height - field.shape[-2], 0))
    if any(beyond):
        field = F.pad(field, beyond, mode='replicate')
    return cropped(field, size)


def cropped(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return the first ``size`` (height, width) cells of maps, from the top left corner."""
    height, width = size
    return maps if maps.shape[-2:] == (height, width) else maps[..., :height, :width]


def _interpolate(field: Tensor, dim: int, ratio: float, count: int) -> Tensor:
    """Interpolate along one axis, at ratios that torch's operator rounds to 1 on small maps."""
    low, high, weight = _neighbors(field.shape[dim] - 1, ratio, count, field.device, field.dtype)
    weight = weight if dim == -1 else weight[:, None]
    return torch.lerp(field.index_select(dim, low), field.index_select(dim, high), weight)


@constants
def _neighbors(
    last: int, ratio: float, count: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    position = ((torch.arange(count, device=device) + 0.5) * ratio - 0.5).clamp(0, last)
    low = position.floor().long()
    return low, (low + 1).clamp(max=last), (position - low).to(dtype)


def average_pool(maps: Tensor, size: int) -> Tensor:
    """Average squares of ``size`` x ``size`` cells of maps (N, C, H, W), cut at the far borders.

    This is ``F.avg_pool2d(maps, size, ceil_mode=True)``, but for the last digit. torch's kernel for
    CPUs is vectorized only for channels-last maps with many channels; for others, sums of rows and
    columns take a tenth of the time.
    """
    is_graph = torch.compiler.is_exporting() or is_recorded()
    if is_graph and not any(side % size for side in maps.shape[-2:]):
        # onnxruntime moves padding into a pooling layer, and then refuses it; this takes half of
        # the time, too.
        cell = maps.new_full((maps.shape[1], 1, size, size), 1 / size**2)
        return F.conv2d(maps, cell, stride=size, groups=maps.shape[1])
    slow = maps.device.type == 'cpu' and (maps.is_contiguous() or maps.shape[1] < _VECTOR)
    if not slow or torch.compiler.is_compiling() or maps.dtype != torch.float32:
        return F.avg_pool2d(maps, size, ceil_mode=True)
    for dim in (-2, -1):
        count, rest = divmod(maps.shape[dim], size)
        whole, last = maps.split((count * size, rest), dim)
        mean = reduce(torch.add, whole.unflatten(dim, (count, size)).unbind(dim)) / size
        maps = torch.cat((mean, last.mean(dim, keepdim=True)), dim) if rest else mean
    return maps
