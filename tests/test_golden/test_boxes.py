"""Anchors, box deltas, overlaps and suppression, operator by operator."""

import numpy as np
import pytest
import torch
from mmcv.ops import nms

from semidff.models.rfcn import OriginalBoxCoder, OriginalOverlaps
from tests.test_golden.original import arrays, config, head, relative


def golden(name: str) -> torch.Tensor:
    return torch.from_numpy(arrays('ops_golden.npz')[name])


def test_anchors():
    generator = head('rpn_head').prior_generator
    assert torch.equal(generator.base_anchors[0], golden('anchors'))
    grid = generator.grid_priors([(3, 4)], device='cpu')[0].reshape(3, 4, 9, 4)
    assert torch.equal(grid[2, 1] - grid[0, 0], torch.tensor([[16.0, 32, 16, 32]] * 9))


def test_encoding():
    targets = OriginalBoxCoder().encode(golden('box_ex'), golden('box_gt'))
    assert relative(targets, golden('box_targets')) < 1e-6


@pytest.mark.parametrize(
    'name,limits', [('decoded', None), ('decoded_clipped_200x250', (200, 250))]
)
def test_decoding(name, limits):
    boxes = OriginalBoxCoder().decode(golden('box_ex'), golden('box_deltas'), limits)
    assert relative(boxes, golden(f'box_{name}')) < 1e-6


def test_decoding_inverts_encoding():
    coder = OriginalBoxCoder(target_stds=[0.1, 0.1, 0.4, 0.4])
    source, target = golden('box_ex'), golden('box_gt')
    assert torch.allclose(coder.decode(source, coder.encode(source, target)), target, atol=1e-3)


def test_overlaps():
    overlaps = OriginalOverlaps()(golden('box_ex'), golden('box_gt'))
    assert np.array_equal(overlaps.numpy(), arrays('ops_golden.npz')['box_iou'])
    with pytest.raises(ValueError, match='ignore_iof_thr=-1'):
        OriginalOverlaps()(golden('box_ex'), golden('box_gt'), mode='iof')


@pytest.mark.parametrize('threshold', [0.3, 0.7])
def test_suppression(threshold):
    settings = config().detector.test_cfg.rcnn.nms
    rows = golden('nms_dets')
    kept = nms(rows[:, :4].contiguous(), rows[:, 4].contiguous(), threshold, settings.offset)[1]
    assert torch.equal(kept, golden(f'nms_keep_0{int(10 * threshold)}'))
