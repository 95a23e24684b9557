"""Off-the-shelf flow: accuracy, signs, sizes and errors."""

import copy

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semidff.models import OpenCVFlow, TemporalModule
from semidff.synthetic.smooth_video import smooth_frames

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def normalize(*pictures: np.ndarray) -> Tensor:
    """Pictures (H, W, 3), blue first, as ImageNet's data preprocessor leaves them."""
    stack = torch.from_numpy(np.stack(pictures)[..., ::-1].copy()).permute(0, 3, 1, 2)
    return (stack - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def moved(shift: tuple[int, int], size: tuple[int, int] = (120, 184)) -> tuple[Tensor, Tensor]:
    """A textured key frame, and a current frame whose pixel p lies at p + shift (x, y) in it."""
    (canvas,) = smooth_frames(1, size[0] + 40, size[1] + 40)
    (x, y), (height, width) = shift, size
    key = canvas[20 : 20 + height, 20 : 20 + width]
    current = canvas[20 + y : 20 + y + height, 20 + x : 20 + x + width]
    return normalize(key), normalize(current)


def pixels(network: OpenCVFlow, key: Tensor, current: Tensor) -> Tensor:
    """The flow (N, 2, h, w) in pixels of the frames."""
    return network(network.prepare(current), network.prepare(key)).flow * network.stride


@pytest.mark.parametrize('preset', ['ultrafast', 'fast', 'medium', 'slow'])
def test_flow_leads_from_the_current_frame_to_the_key_frame(preset):
    flow = pixels(OpenCVFlow(preset=preset), *moved((6, -4)))
    assert flow.shape == (1, 2, 8, 12)
    inside = flow[0, :, 1:-1, 1:-1].mean((1, 2))
    torch.testing.assert_close(inside, torch.tensor([6.0, -4.0]), atol=0.5, rtol=0)


def test_warping_moves_the_key_picture_onto_the_current_one():
    key, current = moved((8, 4))
    temporal = TemporalModule(
        dict(type='OpenCVFlow', preset='medium'), feat_strides=(4,), with_scale=False
    )
    maps = {name: F.avg_pool2d(x, 4) for name, x in (('key', key), ('current', current))}

    def error(features: Tensor) -> Tensor:
        return (features - maps['current'])[..., 4:-4, 4:-4].abs().mean()

    (warped,) = temporal(temporal.prepare(key), temporal.prepare(current), (maps['key'],))
    (opposite,) = temporal(temporal.prepare(current), temporal.prepare(key), (maps['key'],))
    assert error(warped) < 0.15 * error(maps['key'])
    assert error(opposite) > 1.2 * error(maps['key'])


def test_padding_does_not_disturb_the_picture():
    frames = (F.pad(frame, (0, 23, 0, 7)) for frame in moved((6, -4), (120, 184)))
    flow = pixels(OpenCVFlow(preset='medium'), *frames)
    assert flow.shape == (1, 2, 8, 13)  # 127 x 207 pixels
    inside = flow[0, :, 1:-2, 1:-3].mean((1, 2))
    torch.testing.assert_close(inside, torch.tensor([6.0, -4.0]), atol=0.5, rtol=0)


@pytest.mark.parametrize('rgb', [True, False])
def test_normalization_is_undone_exactly(rgb):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    picture = picture.repeat(2, 0).repeat(2, 1)  # not changed by halving the size
    expected = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[::2, ::2]
    if rgb:
        frame, settings = normalize(picture), {}
    else:  # as caffe's models: blue first, means subtracted only
        frame = torch.from_numpy(picture).permute(2, 0, 1)[None] - 100.0
        settings = dict(mean=[100] * 3, std=[1] * 3, rgb=False)
    gray = OpenCVFlow(**settings).prepare(frame)
    assert gray.shape == (1, 1, 20, 30) and gray.dtype == torch.uint8
    assert np.abs(gray[0, 0].numpy().astype(int) - expected.astype(int)).max() <= 1


def test_it_has_nothing_to_learn_and_each_pair_has_its_flow():
    network = OpenCVFlow()
    assert not list(network.parameters()) and not network.state_dict()
    pairs = [moved(shift) for shift in ((2, 2), (-5, 2))]
    key, current = (torch.cat(frames).requires_grad_() for frames in zip(*pairs, strict=True))
    flow = pixels(network, key, current)
    assert not flow.requires_grad
    for one, pair in zip(flow, pairs, strict=True):
        assert torch.equal(one, pixels(copy.deepcopy(network), *pair)[0])
