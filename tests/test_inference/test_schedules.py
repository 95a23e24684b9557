"""Scene cuts."""

import numpy as np
import pytest
import torch

from semidff.datasets.video_readers import Frame
from semidff.inference.schedules import frame_signature, scene_change
from tests.tiny.stages import frame_of
from tests.tiny.videos import batch


def scene(seed: int) -> np.ndarray:
    """A picture (200, 300, 3) uint8 of smooth patches in a few colors."""
    generator = np.random.default_rng(seed)
    palette = generator.integers(0, 256, (5, 3))
    patches = palette[generator.integers(0, 5, (10, 15))].astype(np.uint8)
    return patches.repeat(20, 0).repeat(20, 1)


def view(picture: np.ndarray, x: int = 0) -> torch.Tensor:
    """A frame (3, 120, 160) of a picture."""
    return torch.from_numpy(picture[40:160, x : x + 160].copy()).permute(2, 0, 1)


def framed(image: torch.Tensor, **sizes) -> Frame:
    """A prepared frame."""
    data, shape = batch(0, 0), tuple(image.shape[-2:])
    data['inputs'] = [image]
    data['data_samples'][0].set_metainfo(dict(dict(ori_shape=shape, img_shape=shape), **sizes))
    return frame_of(data)


def change(first: torch.Tensor, second: torch.Tensor) -> float:
    return scene_change(frame_signature(framed(first)), frame_signature(framed(second)))


def at_night(image: torch.Tensor) -> torch.Tensor:
    """Return a frame in levels of 4 to 58, with a camera's noise."""
    noise = torch.randint(-2, 3, image.shape, generator=torch.Generator().manual_seed(0))
    return (4 + image * (54 / 255) + noise).clamp(0, 255).to(torch.uint8)


def test_a_plain_night_has_no_cuts():
    plain = torch.zeros(3, 120, 160, dtype=torch.uint8)
    assert change(at_night(plain), at_night(plain).flip(2)) < 0.1


def test_the_same_frame_is_no_change_and_its_inverse_a_complete_one():
    checks = np.kron([[0, 1], [1, 0]], np.ones((60, 80))).astype(np.uint8)
    frame = torch.from_numpy(255 * checks).expand(3, -1, -1)
    assert change(frame, frame) == 0
    black = torch.zeros(3, 64, 64, dtype=torch.uint8)
    assert change(black, black) == 0
    # the colors are the same ones, so it is a motion for all that is known
    assert change(frame, 255 - frame) == 0
    red = frame * torch.tensor([1, 0, 0], dtype=torch.uint8)[:, None, None]
    blue = (255 - frame) * torch.tensor([0, 0, 1], dtype=torch.uint8)[:, None, None]
    assert change(red, blue) > 0.6


@pytest.mark.parametrize('seed', range(5))
def test_a_cut_is_far_above_the_threshold_and_motion_light_and_noise_below(seed):
    picture, other = scene(seed), scene(seed + 100)
    still = view(picture)
    assert change(still, view(other)) > 0.3
    assert change(at_night(still), at_night(view(other))) > 0.2
    assert change(at_night(still), at_night(view(picture, 8))) < 0.15
    assert change(still, view(picture, 8)) < 0.15  # a twentieth of the frame in one step
    darker = (still * 0.8).to(torch.uint8)
    assert change(still, darker) < 0.1
    noise = torch.randint(-8, 9, still.shape, generator=torch.Generator().manual_seed(seed))
    assert change(still, (still.int() + noise).clamp(0, 255).to(torch.uint8)) < 0.1


def test_padding_does_not_hide_a_cut():
    """The frame of 120 x 160 is scaled by 0.5 and padded to 160 x 160, as RTMDet's and YOLOX's
    pipelines do.
    """

    def padded(image):
        frame = torch.full((3, 160, 160), 114, dtype=torch.uint8)
        frame[:, :60, :80] = image
        return framed(frame, scale_factor=(0.5, 0.5), ori_shape=(120, 160))

    pictures = [view(scene(seed))[:, ::2, ::2] for seed in (0, 100)]
    frames = [padded(picture) for picture in pictures]
    whole = change(*pictures)
    assert scene_change(*map(frame_signature, frames)) == pytest.approx(whole)
    frames[0].inputs = frames[0].inputs.float()  # CenterNet's pipeline
    assert scene_change(*map(frame_signature, frames)) == pytest.approx(whole)
