"""Regions of frames in which detections are left out."""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semidff.utils.atomic_write import read_json
from semidff.utils.error_messages import FileError


def read_regions(path: str | Path, height: int, width: int) -> Tensor:
    """Return which pixels of a frame are in regions, (height, width) bool.

    Args:
        path: A mask image, whose nonzero pixels are in regions, scaled to the frame; or ``.json`` with polygons: a list
            of lists of [x, y] in pixels of the frame. FileError if it is neither, or if the aspect ratios of mask and
            frame differ by more than 1 %.
    """
    if Path(path).suffix == '.json':
        mask = np.zeros((height, width), np.uint8)
        for polygon in read_json(path):
            if np.shape(polygon)[1:] != (2,):
                raise FileError(f'{path}: has a polygon that is no list of [x, y]')
            cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
        return torch.from_numpy(mask > 0)
    mask = np.asarray(Image.open(path).convert('L'))
    rows, columns = mask.shape
    if abs(rows * width / (columns * height) - 1) > 0.01:
        sizes = f'{columns} x {rows} pixels, the frame {width} x {height}'
        raise FileError(f'{path}: has another aspect ratio than the frame: {sizes}')
    return torch.from_numpy(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0)


def stand_in(boxes: Tensor, regions: Tensor) -> Tensor:
    """Return of which boxes (N, 4) the center of the lower edge is in regions (H, W): (N,) bool."""
    x1, _, x2, y2 = boxes.float().nan_to_num().unbind(1)
    rows, columns = (size - 1 for size in regions.shape)
    return regions[y2.clamp(0, rows).long(), ((x1 + x2) / 2).clamp(0, columns).long()]
