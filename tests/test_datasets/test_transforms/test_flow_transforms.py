"""Mirroring, colors and packing of pairs with flow."""

import numpy as np
import pytest
import torch

from semidff.datasets.transforms.flow_transforms import (
    PackFlowPair,
    RandomColorFlowPair,
    RandomFlipFlowPair,
)

H, W = 3, 4


def pair():
    rng = np.random.default_rng(0)
    return {
        'img': list(rng.integers(0, 255, (2, H, W, 3), dtype=np.uint8)),
        'gt_flow': rng.normal(size=(H, W, 2)).astype(np.float32),
        'img_path': ['b', 'a'],
        'img_shape': (H, W),
    }


def test_flip_keeps_the_flow_true():
    original, seen = pair(), set()
    for seed in range(16):
        np.random.seed(seed)
        flipped = RandomFlipFlowPair()(dict(original))
        direction = flipped['flip_direction']
        assert flipped['flip'] == (direction is not None)
        seen.add(direction)
        fx, fy = direction in ('horizontal', 'diagonal'), direction in ('vertical', 'diagonal')
        for y in range(H):
            for x in range(W):
                # where pixel (x, y) and its target go in the mirrored picture
                nx, ny = (W - 1 - x if fx else x), (H - 1 - y if fy else y)
                tx, ty = (x, y) + original['gt_flow'][y, x]
                mx, my = (W - 1 - tx if fx else tx), (H - 1 - ty if fy else ty)
                for new, old in zip(flipped['img'], original['img'], strict=True):
                    assert np.array_equal(new[ny, nx], old[y, x])
                assert flipped['gt_flow'][ny, nx] == pytest.approx([mx - nx, my - ny], abs=1e-5)
    assert seen == {None, 'horizontal', 'vertical', 'diagonal'}


def test_never_and_always_flipped():
    assert RandomFlipFlowPair(0)(pair())['flip_direction'] is None
    assert RandomFlipFlowPair(1)(pair())['flip_direction'] == 'diagonal'


def test_colors_by_hand():
    """Each of the changes alone, with a range of one value."""
    still = dict(color=(1, 1), gamma=(1, 1), contrast=(0, 0), brightness=0, noise=0)
    value = np.stack(pair()['img']) / 255
    for change, expected in (
        ({}, value),
        (dict(color=(0.5, 0.5)), value / 2),
        (dict(color=(2, 2)), np.minimum(2 * value, 1)),
        (dict(gamma=(1.5, 1.5)), value**1.5),
        (dict(contrast=(-0.8, -0.8)), 0.5 + 0.2 * (value - 0.5)),
        (dict(contrast=(0.4, 0.4)), np.clip(0.5 + 1.4 * (value - 0.5), 0, 1)),
    ):
        changed = RandomColorFlowPair(**{**still, **change})(pair())
        np.testing.assert_allclose(np.stack(changed['img']), 255 * expected, atol=0.01)
        assert np.array_equal(changed['gt_flow'], pair()['gt_flow'])


def test_brightness_is_shared_and_noise_is_not():
    gray = dict(pair(), img=[np.full((64, 64, 3), 128, np.uint8)] * 2)
    still = dict(color=(1, 1), gamma=(1, 1), contrast=(0, 0))
    shifts, deviations = [], []
    for seed in range(30):
        np.random.seed(seed)
        key, current = RandomColorFlowPair(**still, brightness=0.1, noise=0)(dict(gray))['img']
        assert np.array_equal(key, current) and key.std() < 1e-3
        shifts.append((key.mean() - 128) / 255)
        key, current = RandomColorFlowPair(**still, brightness=0, noise=0.04)(dict(gray))['img']
        assert not np.array_equal(key, current)
        deviations.append(np.std(key - current) / 255 / 2**0.5)
    assert 0.07 < np.std(shifts) < 0.13
    assert 0 < min(deviations) < 0.01 and 0.03 < max(deviations) < 0.041


def test_default_colors_follow_numpys_seed():
    results = []
    for seed in (5, 5, 6):
        np.random.seed(seed)
        results.append(np.stack(RandomColorFlowPair()(pair())['img']))
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[0], results[2])
    assert results[0].dtype == np.float32 and results[0].min() >= 0 and results[0].max() <= 255


def test_packed_pair():
    results = pair()
    results['img'] = [image + 0.4 for image in results['img']]
    packed = PackFlowPair()(results)
    assert packed['inputs'].shape == (2, 3, H, W) and packed['inputs'].dtype == torch.uint8
    key, current = pair()['img']
    assert np.array_equal(packed['inputs'][0].permute(1, 2, 0), key)
    sample = packed['data_samples']
    assert sample.img_path == 'a' and sample.img_shape == (H, W)
    flow = sample.gt_flow.data
    assert flow.shape == (2, H, W) and flow.dtype == torch.float32
    assert np.array_equal(flow.permute(1, 2, 0), results['gt_flow'])
