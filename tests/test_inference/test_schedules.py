"""Adaptive key frames and scene cuts."""

import json
import math

import numpy as np
import pytest
import torch

from semidff.datasets.video_readers import Frame
from semidff.inference import (
    AdaptiveSchedule,
    ErrorPredictor,
    ScheduleError,
)
from semidff.inference.schedules import (
    STATISTICS,
    flow_statistics,
    frame_signature,
    scene_change,
)
from semidff.models.key_frame import FlowField
from tests.test_inference.test_stages import all_same, count_calls, keys_of, results_of
from tests.tiny.stages import frame_of, live, stages
from tests.tiny.videos import batch

# error = 0.01 * (1 + mean motion in pixels): by hand, so that the tests know what is predicted
BY_MOTION = ErrorPredictor([1.0, 0, 0, 0], math.log(0.01), max_interval=12)
TABLE = ErrorPredictor([0.0] * 4, 0.0, tolerances=(0.2, 0.4, 0.8), intervals=(2.0, 6.0, 10.0))


def flow_field(flow: torch.Tensor, scale: torch.Tensor | None = None) -> FlowField:
    """A flow field on a map of 4 x 6 cells of 16 pixels, of equal images."""
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    return FlowField(image, image, flow, scale)


def test_statistics_by_hand():
    still = flow_statistics(flow_field(torch.zeros(1, 2, 4, 6), torch.ones(1, 8, 4, 6)))
    assert torch.equal(still, torch.zeros(1, len(STATISTICS)))
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0] = 1.0  # one cell of 16 pixels to the right
    flow[0, 1, :2] = 0.5  # and in the upper half 8 pixels down
    scale = torch.ones(1, 8, 4, 6)
    scale[:, :4] = 0.5
    motion, roughness, scaling, residual = flow_statistics(flow_field(flow, scale))[0]
    assert motion == pytest.approx(math.log1p((16 + math.hypot(16, 8)) / 2))
    # one of three steps down is 8 pixels, none to the right is
    assert roughness == pytest.approx(math.log1p(8 / 3 / 2))
    assert scaling == pytest.approx(0.25)
    assert residual > 0.2


def test_the_residual_is_what_the_warp_leaves():
    """The correct flow explains an image that has moved by a cell, except at the border."""
    image = torch.randn(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    image = image.repeat_interleave(8, 2).repeat_interleave(8, 3)
    flows = torch.zeros(2, 2, 8, 12)
    flows[0, 0] = -1
    pair = image.expand(2, -1, -1, -1), image.roll(8, dims=3).expand(2, -1, -1, -1)
    explained, unexplained = flow_statistics(FlowField(*pair, flows, None))[:, -1]
    assert explained < 0.25 * unexplained


def test_tolerances_are_interpolated():
    for interval, tolerance in [(2, 0.2), (4, 0.3), (6, 0.4), (8.0, 0.6), (10, 0.8)]:
        schedule = AdaptiveSchedule(TABLE, interval=interval)
        assert schedule.tolerance == pytest.approx(tolerance)
    for interval in (1.9, 10.5):
        with pytest.raises(ScheduleError, match='calibrated for average key-frame intervals 2 to'):
            TABLE.tolerance_for(interval)


def test_files(tmp_path):
    path = tmp_path / 'adaptive.json'
    TABLE.save(path)
    assert AdaptiveSchedule(str(path), interval=6).tolerance == pytest.approx(0.4)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(content, statistics=['motion'])))
    with pytest.raises(ScheduleError, match='not written by tools/analysis/fit_adaptive.py'):
        ErrorPredictor.load(path)


NAN = math.nan


@pytest.mark.parametrize(
    'wrong',
    [
        dict(bias=NAN), dict(weights=[1, 1, -math.inf, 1]), dict(tolerances=[0.2, NAN, 0.8]),
        dict(intervals=[2, 10, 6]), dict(tolerances=[0.2, 0.4]), dict(max_interval=0),
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_values_of_a_file_are_refused_with_its_name(tmp_path, wrong):
    path = tmp_path / 'adaptive.json'
    TABLE.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(ValueError, match=r'adaptive\.json: '):
        AdaptiveSchedule(str(path), interval=6)


TEXTURE = np.kron(
    np.random.default_rng(0).integers(0, 256, (40, 60, 3)), np.ones((8, 8, 1))
).astype(np.uint8)


def clip(speeds: list[int]) -> list[dict]:
    """Test batches of a camera that moves over a texture by so many pixels before each frame."""
    frames = []
    for index, x in enumerate(np.cumsum(speeds)):
        data = batch(0, index)
        view = TEXTURE[100:164, x : x + 96].copy()
        data['inputs'] = [torch.from_numpy(view).permute(2, 0, 1).contiguous()]
        frames.append(data)
    return frames


def moving(model, speeds: list[int], tolerance: float = 0.05) -> list[int]:
    """Key frames of a moving camera, where the flow is OpenCV's and not that of random weights."""
    schedule = AdaptiveSchedule(BY_MOTION, tolerance=tolerance)
    return keys_of(live(stages(model, 'sff-fast', schedule=schedule), clip(speeds)))


def test_the_faster_the_motion_the_more_key_frames(model):
    assert moving(model, [0] * 30) == [0, 12, 24], 'still: at the longest interval only'
    counts = [len(moving(model, [speed] * 13)) for speed in (0, 1, 2, 4)]
    assert counts == sorted(counts) and len(set(counts)) == 4
    keys = moving(model, [0] * 8 + [3] * 8 + [0] * 8, 0.06)
    assert keys[0] == 0 and all(8 < key <= 16 for key in keys[1:]) and len(keys) > 2


def test_each_flow_is_computed_once_and_the_results_are_those_of_the_key_frames(model):
    calls = count_calls(model.temporal.flow_network)
    predictor = ErrorPredictor([1.0, 0, 0, 0], 0.0, max_interval=3)
    schedule = AdaptiveSchedule(predictor, tolerance=1e6)
    results = results_of(model, 'propagate', schedule=schedule)
    assert len(calls) == 6
    assert all_same(results, results_of(model, 'propagate', key_interval=3))


def test_the_error_is_not_read_before_the_next_frame():
    """Reading a number waits for the GPU; of a tensor on the meta device it is an error."""
    image, flow = (torch.empty(1, c, *s, device='meta') for c, s in ((3, (32, 48)), (2, (4, 6))))
    schedule, frame = AdaptiveSchedule(BY_MOTION, tolerance=0.05), Frame(None, 0)
    for frame.flow_field, expected in (
        (FlowField(image, image, flow, None), None),
        (flow_field(torch.full((1, 2, 4, 6), 1.0)), True),
        (flow_field(torch.zeros(1, 2, 4, 6)), False),
    ):
        schedule.observe(frame)
        assert expected is None or schedule.is_key(frame, 1) == expected


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


def test_bad_settings_are_refused():
    for options in ({}, dict(interval=4, tolerance=0.3)):
        with pytest.raises(ScheduleError, match='either interval or tolerance'):
            AdaptiveSchedule(TABLE, **options)
