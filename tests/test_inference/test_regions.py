"""Regions in which detections are left out."""

import json

import cv2
import numpy as np
import pytest
import torch

from semidff.inference.regions import read_regions, stand_in
from semidff.utils.error_messages import FileError

# In a frame of 80 x 60, the centers of the lower edges are in columns 20, 20, 58, 60, and some outside.
BOXES = torch.tensor([
    [10, 0, 30, 29], [10, 0, 30, 31], [38, 0, 78, 40], [55, 5, 65, 45], [0, 0, 40, 70], [-torch.inf, 0, 9, torch.nan],
])  # fmt: skip
INSIDE = [False, True, True, False, True, False]


@pytest.mark.parametrize('size', [(80, 60), (160, 120), (40, 30)])
def test_mask(tmp_path, size):
    path, mask = tmp_path / 'm.png', np.zeros((60, 80), np.uint8)
    mask[30:, :60] = 1
    cv2.imwrite(str(path), cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST))
    assert stand_in(BOXES, read_regions(path, 60, 80)).tolist() == INSIDE
    assert stand_in(2 * BOXES, read_regions(path, 120, 160)).tolist() == INSIDE
    sizes = '{} x {} pixels, the frame 80 x 61'.format(*size)
    with pytest.raises(FileError, match=rf'm\.png: .*: {sizes}'):
        read_regions(path, 61, 80)


def test_polygons_that_overlap(tmp_path):
    path, squares = tmp_path / 'p.json', [[[x, 30], [x, 99], [59.4, 99], [59, 30]] for x in (-9, 9)]
    path.write_text(json.dumps(squares))
    assert stand_in(BOXES, read_regions(path, 60, 80)).tolist() == INSIDE
    path.write_text(json.dumps(squares[0]))
    with pytest.raises(FileError, match=r'p\.json: has a polygon that is no list'):
        read_regions(path, 60, 80)
