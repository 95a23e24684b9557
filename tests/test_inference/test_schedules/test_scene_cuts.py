"""Scene cuts become key frames; motion, light and noise do not."""

import copy

import numpy as np
import pytest
import torch

from semidff.inference import SceneCutSchedule, ScheduleError, VideoEngine
from semidff.inference.schedules import _signature, frame_signature, scene_change
from tests.test_inference.test_video_engine import same
from tests.tiny_video import batch, build, video_detector_cfg


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg())


def scene(seed: int) -> np.ndarray:
    """A picture (200, 300, 3) uint8 of smooth patches in a few colors."""
    generator = np.random.default_rng(seed)
    palette = generator.integers(0, 256, (5, 3))
    patches = palette[generator.integers(0, 5, (10, 15))].astype(np.uint8)
    return patches.repeat(20, 0).repeat(20, 1)


def view(picture: np.ndarray, x: int = 0) -> torch.Tensor:
    """A frame (3, 120, 160) of a picture."""
    return torch.from_numpy(picture[40:160, x : x + 160].copy()).permute(2, 0, 1)


def change(first: torch.Tensor, second: torch.Tensor) -> float:
    return scene_change(frame_signature(first), frame_signature(second))


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
    assert change(still, view(picture, 8)) < 0.15  # a twentieth of the frame in one step
    darker = (still * 0.8).to(torch.uint8)
    assert change(still, darker) < 0.1
    noise = torch.randint(-8, 9, still.shape, generator=torch.Generator().manual_seed(seed))
    assert change(still, (still.int() + noise).clamp(0, 255).to(torch.uint8)) < 0.1


def cut_frames(lengths: tuple[int, ...]) -> list[dict]:
    """Test batches of one video that is cut together from scenes."""
    frames = []
    for number, length in enumerate(lengths):
        picture = scene(number)
        for index in range(length):
            data = batch(0, len(frames))
            data['inputs'] = [view(picture, 2 * index)[:, :64, :96].contiguous()]
            frames.append(data)
    return frames


@pytest.mark.parametrize('method', ['propagate', 'copy', 'sff-fast'])
def test_cuts_become_key_frames_at_once_and_the_interval_begins_anew(model, method):
    engine = VideoEngine(model, method, schedule=SceneCutSchedule(4))
    results = [result for data in cut_frames((6, 3, 7)) for result in engine.push(data)]
    keys = [result.frame_id for result in results if result.is_key_frame]
    assert keys == [0, 4, 6, 9, 13]


def test_the_frame_at_a_cut_has_the_detections_of_method_frame(model):
    frames = cut_frames((3, 3))
    engine = VideoEngine(model, schedule=dict(type='SceneCutSchedule', base=100))
    results = [result for data in frames for result in engine.push(data)]
    alone = VideoEngine(model, 'frame').push(cut_frames((3, 3))[3])[0]
    assert results[3].is_key_frame and same(results[3], alone)


@pytest.mark.parametrize('method', ['centered', 'interpolate', 'coast', 'blend'])
@pytest.mark.parametrize('smooth_scores', [0, 4])
def test_the_scenes_of_a_video_do_not_see_each_other(model, method, smooth_scores):
    """The frames of each scene have the results of a video that holds this scene alone."""
    frames, expected = cut_frames((8, 7)), []
    for scene_frames in (frames[:8], frames[8:]):
        alone = VideoEngine(model, method, key_interval=4, smooth_scores=smooth_scores)
        expected += [r for data in copy.deepcopy(scene_frames) for r in alone.push(data)]
        expected += alone.flush()
    engine = VideoEngine(model, method, schedule=SceneCutSchedule(4), smooth_scores=smooth_scores)
    results = [result for data in frames for result in engine.push(data)] + engine.flush()
    assert [r.frame_id for r in results] == list(range(15))
    assert all(same(*pair) for pair in zip(results, expected, strict=True))


def test_streams_share_no_notes(model):
    engine = VideoEngine(model, 'copy', schedule=SceneCutSchedule(100))
    states = [engine.open(), engine.open()]
    first, second = cut_frames((3, 3)), cut_frames((6,))
    keys = [[], []]
    for pair in zip(first, second, strict=True):
        for stream, found in enumerate(engine.push_batch(pair, states)):
            keys[stream] += [r.frame_id for r in found if r.is_key_frame]
    assert keys == [[0, 3], [0]]


@pytest.mark.parametrize('threshold', [0, -0.1, 1.5])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ScheduleError, match=str(threshold)):
        SceneCutSchedule(10, threshold)


@pytest.mark.parametrize('seed', range(3))
def test_padding_does_not_hide_a_cut(seed):
    """The frame of 120 x 160 is scaled by 0.5 and padded to 160 x 160, as RTMDet's and YOLOX's pipelines do."""

    def padded(picture):
        data = batch(0, 0)
        frame = torch.full((3, 160, 160), 114, dtype=torch.uint8)
        frame[:, :60, :80] = view(picture)[:, ::2, ::2]
        data['inputs'] = [frame]
        sizes = dict(ori_shape=(120, 160), img_shape=(160, 160), scale_factor=(0.5, 0.5))
        data['data_samples'][0].set_metainfo(sizes)
        return data

    first, second = (padded(scene(s)) for s in (seed, seed + 100))
    whole = change(view(scene(seed))[:, ::2, ::2], view(scene(seed + 100))[:, ::2, ::2])
    assert scene_change(_signature(first), _signature(second)) == pytest.approx(whole)
    first['inputs'] = [first['inputs'][0].float()]  # CenterNet's pipeline
    assert scene_change(_signature(first), _signature(second)) == pytest.approx(whole)
