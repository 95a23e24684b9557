"""Regions of frames in which detections are left out."""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semidff.utils.atomic_write import read_json
from semidff.utils.error_messages import FileError


class IgnoredRegions:
    """Regions of frames; a box is in them if the center of its lower edge is, where an object stands.

    Args:
        path: A mask image, whose nonzero pixels are the regions, scaled to the frames; or ``.json`` with polygons:
            a list of lists of [x, y] in pixels of the frame.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._scaled, self._polygons = path, torch.zeros(0, 0), None
        if Path(path).suffix != '.json':
            self._image = np.asarray(Image.open(path).convert('L'))
            return
        self._polygons = read_json(path)
        if not all(np.shape(polygon)[1:] == (2,) for polygon in self._polygons):
            raise FileError(f'{path}: has polygons that are no lists of [x, y]')

    def contain(self, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return which boxes (N, 4), in pixels of a frame (H, W), are in the regions: (N,) bool.

        FileError if the aspect ratios of mask and frame differ by more than 1 %.
        """
        if self._scaled.shape != shape:
            self._scaled = torch.from_numpy(self._mask(*shape) > 0)
        x1, _, x2, y2 = boxes.float().nan_to_num().unbind(1)
        columns, rows = ((x1 + x2) / 2).clamp(0, shape[1] - 1), y2.clamp(0, shape[0] - 1)
        return self._scaled[rows.long(), columns.long()]

    def _mask(self, height: int, width: int) -> np.ndarray:
        if self._polygons is None:
            rows, columns = self._image.shape
            if abs(rows * width / (columns * height) - 1) > 0.01:
                sizes = f'{columns} x {rows} pixels, the frame {width} x {height}'
                raise FileError(f'{self._path}: has another aspect ratio than the frame: {sizes}')
            return cv2.resize(self._image, (width, height), interpolation=cv2.INTER_NEAREST)
        mask = np.zeros((height, width), np.uint8)
        for polygon in self._polygons:  # together, those that overlap would cancel each other
            cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
        return mask
