"""Mirroring, colors, affine maps and packing of pairs with flow."""

import cv2
import numpy as np
import pytest

from semidff.datasets.transforms.flow_transforms import (
    RandomAffineFlowPair,
    RandomColorFlowPair,
    RandomFlipFlowPair,
    transform_flow,
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


SIZE, CROP = (120, 160), (96, 128)


def texture(x, y):
    """A smooth picture as a function of real positions; three colors."""
    waves = [
        np.sin(0.21 * x + 0.4) + np.sin(0.16 * y - 0.3 * np.sin(0.05 * x)),
        np.cos(0.13 * x - 0.17 * y) + np.sin(0.24 * y),
        np.sin(0.19 * (x + y)) * np.cos(0.11 * x) * 2,
    ]
    return 127.5 + 60 * np.stack(waves, -1)


def affine_pair():
    """Two pictures whose pixels move by a known affine map from the current to the key frame."""
    motion = np.array([[1.03, 0.05, 2.5], [-0.04, 0.98, -3.0], [0, 0, 1]])
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    points = np.stack((x, y, np.ones_like(x)))
    moved = np.tensordot(motion, points, 1)
    back = np.tensordot(np.linalg.inv(motion), points, 1)
    return {
        'img': [
            np.rint(texture(back[0], back[1])).astype(np.uint8),
            np.rint(texture(x, y)).astype(np.uint8),
        ],
        'gt_flow': np.stack((moved[0] - x, moved[1] - y), -1).astype(np.float32),
        'img_path': ['b', 'a'],
    }


def warp_error(pair):
    """Return the mean difference of the warped key frame, and the visible share."""
    key, current = (image.astype(np.float32) for image in pair['img'])
    height, width = current.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x + pair['gt_flow'][..., 0], y + pair['gt_flow'][..., 1]
    seen = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    warped = cv2.remap(key, x, y, cv2.INTER_LINEAR)
    return float(np.abs(warped - current)[seen].mean()), float(seen.mean())


def test_warped_key_frame_is_the_current_frame():
    pair = affine_pair()
    assert warp_error(pair)[0] < 1
    flows = []
    for seed in range(8):
        np.random.seed(seed)
        changed = RandomAffineFlowPair(CROP, scale=(1.0, 1.5), relative_rotation=4)(dict(pair))
        assert [image.shape for image in changed['img']] == [(*CROP, 3)] * 2
        assert changed['gt_flow'].shape == (*CROP, 2) and changed['img_shape'] == CROP
        assert changed['gt_flow'].dtype == np.float32 and changed['img'][0].dtype == np.uint8
        error, seen = warp_error(changed)
        assert error < 1 and seen > 0.7
        # the crop without the transformed flow is another flow field
        wrong = dict(changed, gt_flow=pair['gt_flow'][12:108, 16:144])
        assert warp_error(wrong)[0] > 3 * error
        flows.append(changed['gt_flow'])
    assert np.std([flow.mean((0, 1)) for flow in flows], axis=0).min() > 0.5


def test_flow_is_exact_for_affine_motion():
    pair = affine_pair()
    motion = np.array([[1.03, 0.05, 2.5], [-0.04, 0.98, -3.0], [0, 0, 1]])
    np.random.seed(3)
    current, key = RandomAffineFlowPair(CROP).draw(SIZE)
    assert not np.allclose(current, key)
    flow = transform_flow(pair['gt_flow'], current, key, CROP)
    expected = np.linalg.inv(key) @ motion @ current
    y, x = np.mgrid[: CROP[0], : CROP[1]].astype(float)
    target = np.tensordot(expected[:2], np.stack((x, y, np.ones_like(x))), 1)
    np.testing.assert_allclose(flow, np.stack((target[0] - x, target[1] - y), -1), atol=1e-4)
