"""Pairs of pictures with true flow, in the format of Flying Chairs: to pre-train the flow network.

The flow of Flying Chairs leads from picture 1 to picture 2 and stands on picture 1's pixels.
Feature flow (DFF Eq. 1) leads from the current frame to the key frame and stands on the current
frame's. So picture 1 is the current frame here, and picture 2 the key frame.
"""

from __future__ import annotations

from pathlib import Path

import mmcv
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.dataset import BaseDataset
from mmengine.structures import PixelData

_SPLITS = {'train': 1, 'val': 2}


def read_flow(path: str | Path) -> np.ndarray:
    """Reads a Middlebury .flo file.

    Args:
        path: The file.

    Returns:
        (H, W, 2) float32 flow in pixels, x first.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not start with 'PIEH', or its length does not fit its size.
    """
    content = Path(path).read_bytes()
    if content[:4] != b'PIEH':
        raise ValueError(f'{path}: starts with {content[:4]!r}, a .flo file starts with b"PIEH"')
    width, height = np.frombuffer(content[:12].ljust(12, b'\0'), '<i4', 2, 4).tolist()
    expected = 12 + 8 * width * height
    if width < 1 or height < 1 or len(content) != expected:
        raise ValueError(
            f'{path}: {len(content)} bytes, but a flow of {height} x {width} has {expected}: '
            'copy the file again'
        )
    return np.frombuffer(content, '<f4', offset=12).reshape(height, width, 2).astype(np.float32)


def colour_jitter(images: np.ndarray, strength: float) -> np.ndarray:
    """Changes brightness, contrast and the balance of the colours, alike in all pictures.

    Args:
        images: (..., 3) uint8.
        strength: Largest relative change; draws from numpy's global random state.
    """
    gain = np.random.uniform(1 - strength, 1 + strength) * np.random.uniform(
        1 - strength / 2, 1 + strength / 2, 3
    )
    mean = images.mean()
    shift = mean * np.random.uniform(-strength, strength) + mean * (1 - gain)
    return np.clip(images * gain.astype(np.float32) + shift.astype(np.float32), 0, 255).astype(
        np.uint8
    )


@DATASETS.register_module()
class FlyingChairsDataset(BaseDataset):
    """Flying Chairs, or other pairs in its format.

    A folder holds `NNNNN_img1.ppm`, `NNNNN_img2.ppm` and `NNNNN_flow.flo`, numbered from 00001;
    line n of the split file says whether pair n is for training (1) or validation (2).

    An item is `dict(inputs, data_samples)`: `inputs` a (2, 3, H, W) uint8 BGR tensor [key, current]
    = [picture 2, picture 1]; `data_samples` a `DetDataSample` of the current frame whose `gt_flow`
    (`PixelData`) holds the flow as `data`, a (2, H, W) float32 tensor in pixels, x first. Random
    changes draw from numpy's global random state.

    Args:
        ann_file: Split file, relative to `data_root`.
        split: 'train' or 'val'.
        flip: Whether to mirror pairs at random, in both directions.
        jitter: Largest relative change of the colours; 0 for none.
        **kwargs: Other arguments of mmengine's `BaseDataset`; `data_prefix=dict(img=...)` names the
            folder of the pairs.

    Raises:
        FileNotFoundError: If the split file or a file of a pair is missing.
        ValueError: If the split file has other lines than 1 and 2, or not one per pair in the
            folder, or nothing is in the split.
    """

    METAINFO = {'dataset_type': 'flying_chairs'}

    def __init__(
        self,
        ann_file: str = 'FlyingChairs_train_val.txt',
        split: str = 'train',
        flip: bool = False,
        jitter: float = 0.0,
        **kwargs,
    ) -> None:
        if split not in _SPLITS:
            raise ValueError(f'split={split!r} is not one of {tuple(_SPLITS)}')
        self.split, self.flip, self.jitter = split, flip, jitter
        kwargs.setdefault('data_prefix', {'img': 'data'})
        super().__init__(ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Pairs of the split, as `dict(img_path, stem)`; `stem` + `_flow.flo` is the flow."""
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(
                f'{self.ann_file}: the split file (ann_file) of Flying Chairs is missing'
            )
        lines = Path(self.ann_file).read_text().split()
        wrong = next((line for line in lines if line not in ('1', '2')), None)
        if wrong is not None:
            raise ValueError(
                f'{self.ann_file}: {wrong!r} in it; lines must be 1 (training) or 2 (validation)'
            )
        folder = Path(self.data_prefix['img'])
        found = len(list(folder.glob('*_flow.flo')))
        if found != len(lines):
            raise ValueError(
                f'{self.ann_file} has {len(lines)} lines, but {folder} holds {found} *_flow.flo '
                'files: the split file belongs to other data, or the folder is incomplete'
            )
        wanted = str(_SPLITS[self.split])
        stems = [
            str(folder / f'{number:05d}') for number, line in enumerate(lines, 1) if line == wanted
        ]
        if not stems:
            raise ValueError(
                f'{self.ann_file}: no line {wanted}, so the split {self.split!r} is empty'
            )
        return [{'img_path': f'{stem}_img1.ppm', 'stem': stem} for stem in stems]

    def prepare_data(self, idx: int) -> dict:
        """Loads, changes and packs one pair."""
        info = self.get_data_info(idx)
        flow = read_flow(info['stem'] + '_flow.flo')
        images = np.stack(
            [self._read(info['stem'] + end, flow) for end in ('_img2.ppm', '_img1.ppm')]
        )
        direction = None
        if self.flip:
            images, flow, direction = random_flip(images, flow)
        if self.jitter:
            images = colour_jitter(images, self.jitter)
        return self.pipeline(pack_pair(images, flow, info, direction))

    def _read(self, path: str, flow: np.ndarray) -> np.ndarray:
        image = mmcv.imread(path)
        if image is None:
            raise ValueError(f'{path}: not a picture that can be read: copy the file again')
        if image.shape[:2] != flow.shape[:2]:
            raise ValueError(
                f"{path}: size {image.shape[:2]} differs from its flow's {flow.shape[:2]}"
            )
        return image


def random_flip(images: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Mirrors pictures (..., H, W, 3) and flow (H, W, 2) along x and y, each every second time.

    Returns:
        Pictures, flow (mirrored, its sign changed along the axis), and mmdet's name of the
        direction.
    """
    horizontal, vertical = np.random.random(2) < 0.5
    if horizontal:
        images, flow = images[..., ::-1, :], flow[:, ::-1] * np.float32([-1, 1])
    if vertical:
        images, flow = images[..., ::-1, :, :], flow[::-1] * np.float32([1, -1])
    if horizontal and vertical:
        return images, flow, 'diagonal'
    return images, flow, 'horizontal' if horizontal else 'vertical' if vertical else None


def pack_pair(images: np.ndarray, flow: np.ndarray, info: dict, direction: str | None) -> dict:
    """Makes `dict(inputs, data_samples)` of [key, current] (2, H, W, 3) and their flow."""
    sample = DetDataSample(
        metainfo={
            'img_id': info['sample_idx'],
            'img_path': info['img_path'],
            'ori_shape': images.shape[1:3],
            'img_shape': images.shape[1:3],
            'scale_factor': (1.0, 1.0),
            'flip': direction is not None,
            'flip_direction': direction,
        }
    )
    flow = torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))
    sample.gt_flow = PixelData(data=flow)
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return {'inputs': inputs, 'data_samples': sample}
