"""Regions in which detections are left out."""

import json

import cv2
import numpy as np
import pytest
import torch

from semidff.inference.regions import IgnoredRegions
from semidff.utils.error_messages import FileError

inf, nan = float('inf'), float('nan')
# Centers of the lower edges: (20, 29), (20, 31), (58, 40), (60, 45), and some outside of the frame, 80 x 60.
BOXES = torch.tensor([
    [10, 0, 30, 29], [10, 0, 30, 31], [38, 0, 78, 40], [55, 5, 65, 45], [0, 0, 40, 70], [-inf, 0, 9, nan],
])  # fmt: skip
INSIDE = [False, True, True, False, True, False]


@pytest.mark.parametrize('size', [(60, 80), (120, 160), (30, 40)])
def test_mask(tmp_path, size):
    mask = np.zeros((60, 80), np.uint8)
    mask[30:, :60] = 1
    mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(tmp_path / 'm.png'), mask)
    regions = IgnoredRegions(tmp_path / 'm.png')
    assert regions.contain(BOXES, (60, 80)).tolist() == INSIDE
    assert regions.contain(2 * BOXES, (120, 160)).tolist() == INSIDE
    sizes = f'{size[1]} x {size[0]} pixels, the frame 80 x 61'
    with pytest.raises(FileError, match=rf'm\.png: .*: {sizes}'):
        regions.contain(BOXES, (61, 80))


def test_polygons_that_overlap(tmp_path):
    def square(left: float, right: float) -> list:
        return [[left, 30], [left, 99], [right, 99], [right, 30.4]]

    (tmp_path / 'p.json').write_text(json.dumps([square(-9, 40), square(10, 59.4)]))
    regions = IgnoredRegions(tmp_path / 'p.json')
    assert regions.contain(BOXES, (60, 80)).tolist() == INSIDE
    (tmp_path / 'p.json').write_text(json.dumps(square(0, 9)))
    with pytest.raises(FileError, match=r'p\.json: has polygons that are no lists'):
        IgnoredRegions(tmp_path / 'p.json')
