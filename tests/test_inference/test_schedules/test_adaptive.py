"""Adaptive key frames: flow statistics, the error predictor and the schedule."""

import json
import math

import numpy as np
import pytest
import torch

from semidff.inference import AdaptiveSchedule, ErrorPredictor, ScheduleError, VideoEngine
from semidff.inference.schedules import STATISTICS, StreamState, flow_statistics
from semidff.models.key_frame import FlowField
from tests.test_inference.test_video_engine import same
from tests.tiny_video import batch, build, video_detector_cfg

# error = 0.01 * (1 + mean motion in pixels): by hand, so that the tests know what is predicted
BY_MOTION = ErrorPredictor([1.0, 0, 0, 0], math.log(0.01), max_interval=12)
TABLE = ErrorPredictor([0.0] * 4, 0.0, tolerances=(0.2, 0.4, 0.8), intervals=(2.0, 6.0, 10.0))


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg())


def flow_field(flow: torch.Tensor, scale: torch.Tensor | None = None) -> FlowField:
    """A flow field on a map of 4 x 6 cells of 16 pixels, of equal images."""
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    return FlowField(image, image, flow, scale)


def test_nothing_changes_nothing():
    found = flow_statistics(flow_field(torch.zeros(1, 2, 4, 6), torch.ones(1, 8, 4, 6)))
    assert found.shape == (1, len(STATISTICS)) and torch.equal(found, torch.zeros(1, 4))


def test_statistics_by_hand():
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
    moved = image.roll(8, dims=3)
    right, wrong = torch.zeros(1, 2, 8, 12), torch.zeros(1, 2, 8, 12)
    right[:, 0] = -1
    explained = flow_statistics(FlowField(image, moved, right, None))[0, -1]
    unexplained = flow_statistics(FlowField(image, moved, wrong, None))[0, -1]
    assert explained < 0.25 * unexplained


def test_predictions_are_exponentials_of_linear_functions():
    predictor = ErrorPredictor([0.5, 0, -2.0, 0], math.log(0.3))
    statistics = torch.tensor([[0.0] * 4, [2.0, 9, 0.25, 9]])
    expected = [0.3, 0.3 * math.exp(1 - 0.5)]
    assert predictor.of_statistics(statistics).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ('interval', 'tolerance'), [(2, 0.2), (4, 0.3), (6, 0.4), (8.0, 0.6), (10, 0.8)]
)
def test_tolerances_are_interpolated(interval, tolerance):
    assert TABLE.tolerance_for(interval) == pytest.approx(tolerance)
    assert AdaptiveSchedule(TABLE, interval=interval).tolerance == pytest.approx(tolerance)


@pytest.mark.parametrize('interval', [1, 1.9, 10.5])
def test_intervals_out_of_reach_are_refused(interval):
    with pytest.raises(ScheduleError, match='calibrated for average key-frame intervals 2 to 10'):
        TABLE.tolerance_for(interval)


def test_files(tmp_path):
    path = tmp_path / 'adaptive.json'
    TABLE.save(path)
    assert AdaptiveSchedule(str(path), interval=6).tolerance == pytest.approx(0.4)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(content, statistics=['motion'])))
    with pytest.raises(ScheduleError, match='fitted to the statistics'):
        ErrorPredictor.load(path)
    path.write_text('[1]')
    with pytest.raises(ScheduleError, match='not written by tools/analysis/fit_adaptive.py'):
        ErrorPredictor.load(path)


@pytest.mark.parametrize('options', [{}, dict(interval=4, tolerance=0.3)])
def test_bad_arguments_are_refused(options):
    with pytest.raises(ScheduleError):
        AdaptiveSchedule(TABLE, **options)


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


def keys_of(model, frames: list[dict], schedule: AdaptiveSchedule) -> list[int]:
    """Key frames, where the flow is OpenCV's and not that of random weights."""
    engine = VideoEngine(model, 'sff-fast', schedule=schedule)
    return [r.frame_id for data in frames for r in engine.push(data) if r.is_key_frame]


def test_a_still_video_has_key_frames_at_the_longest_interval_only(model):
    schedule = AdaptiveSchedule(BY_MOTION, tolerance=0.05)
    assert keys_of(model, clip([0] * 30), schedule) == [0, 12, 24]


def test_the_faster_the_motion_the_more_key_frames(model):
    schedule = AdaptiveSchedule(BY_MOTION, tolerance=0.05)  # 4 pixels
    counts = [len(keys_of(model, clip([speed] * 13), schedule)) for speed in (0, 1, 2, 4)]
    assert counts == sorted(counts) and len(set(counts)) == 4


def test_key_frames_are_where_the_motion_is(model):
    schedule = AdaptiveSchedule(BY_MOTION, tolerance=0.06)
    keys = keys_of(model, clip([0] * 8 + [3] * 8 + [0] * 8), schedule)
    assert keys[0] == 0 and all(8 < key <= 16 for key in keys[1:]) and len(keys) > 2


def test_each_flow_is_computed_once_and_the_results_are_those_of_the_key_frames(model):
    calls = []
    hook = model.temporal.flow_network.register_forward_hook(lambda *_: calls.append(1))
    predictor = ErrorPredictor([1.0, 0, 0, 0], 0.0, max_interval=3)
    engine = VideoEngine(model, schedule=AdaptiveSchedule(predictor, tolerance=1e6))
    results = [r for index in range(8) for r in engine.push(batch(0, index))]
    hook.remove()
    assert len(calls) == 5
    fixed = VideoEngine(model, key_interval=3)
    expected = [r for index in range(8) for r in fixed.push(batch(0, index))]
    assert all(same(*pair) for pair in zip(results, expected, strict=True))


def test_the_error_is_not_read_before_the_next_frame():
    """Reading a number waits for the GPU; of a tensor on the meta device it is an error."""
    image, flow = (torch.empty(1, c, *s, device='meta') for c, s in ((3, (32, 48)), (2, (4, 6))))
    schedule, state = AdaptiveSchedule(BY_MOTION, tolerance=0.05), StreamState(distance=1)
    schedule.observe(state, FlowField(image, image, flow, None))
    assert state.notes
    schedule.observe(state, flow_field(torch.full((1, 2, 4, 6), 1.0)))
    assert schedule.is_key(state, {})
    schedule.observe(state, flow_field(torch.zeros(1, 2, 4, 6)))
    assert not schedule.is_key(state, {})


def test_streams_share_no_notes(model):
    schedule = AdaptiveSchedule(BY_MOTION, tolerance=0.05)
    still, fast = clip([0] * 10), clip([3] * 10)
    alone = [keys_of(model, frames, schedule) for frames in (still, fast)]
    assert alone[0] != alone[1]
    engine = VideoEngine(model, 'sff-fast', schedule=schedule)
    states, keys = [engine.open(), engine.open()], [[], []]
    for pair in zip(clip([0] * 10), clip([3] * 10), strict=True):
        for stream, found in enumerate(engine.push_batch(pair, states)):
            keys[stream] += [r.frame_id for r in found if r.is_key_frame]
    assert keys == alone


def test_around_it_scene_cuts_are_seen_at_once(model):
    frames = clip([0] * 12)
    for data in frames[5:]:
        data['inputs'] = [torch.full_like(data['inputs'][0], 20)]
        data['inputs'][0][0, 20:, 40:] = 220
    adaptive = AdaptiveSchedule(BY_MOTION, tolerance=0.05)
    schedule = dict(type='SceneCutSchedule', base=adaptive)
    assert keys_of(model, frames, schedule) == [0, 5]
