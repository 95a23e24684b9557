"""Many streams, one engine: interleaved, batched, put away and taken up again."""

import io

import pytest
import torch

from semidff.inference import METHODS, FixedSchedule, VideoEngine
from tests.test_inference.test_video_engine import same, walk
from tests.tiny_video import batch, build, video_detector_cfg

FRAMES = 7
INTERVAL = 3


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg())


@pytest.fixture(scope='module')
def alone(model):
    """Results of videos that have an engine for themselves."""

    def results(method: str, video: int) -> list:
        return walk(VideoEngine(model, method, key_interval=INTERVAL), video, FRAMES)

    return results


def close(first, second) -> bool:
    a, b = first.pred_instances, second.pred_instances
    return len(a) == len(b) and all(
        torch.allclose(a[key].float(), b[key].float(), atol=1e-3)
        for key in ('bboxes', 'scores', 'labels')
    )


@pytest.mark.parametrize('method', list(METHODS.module_dict))
def test_interleaved_streams_are_as_each_alone(model, alone, method):
    engine = VideoEngine(model, method, key_interval=INTERVAL)
    states = [engine.open() for _ in range(3)]
    results = [[] for _ in states]
    for index in range(FRAMES):
        for video, state in enumerate(states):
            results[video] += engine.push(batch(video, index), state)
    for video, state in enumerate(states):
        found = results[video] + engine.flush(state)
        for result, expected in zip(found, alone(method, video), strict=True):
            assert same(result, expected) and result.frame_id == expected.frame_id


@pytest.mark.parametrize('method', list(METHODS.module_dict))
def test_batched_streams_are_as_each_alone(model, alone, method):
    """The streams begin one after the other, so that key frames of one meet other frames of the next."""
    engine = VideoEngine(model, method, key_interval=INTERVAL)
    states = [engine.open() for _ in range(3)]
    results = [[] for _ in states]
    for tick in range(FRAMES + 2):
        now = [video for video in range(3) if 0 <= tick - video < FRAMES]
        frames = [batch(video, tick - video) for video in now]
        finished = engine.push_batch(frames, [states[video] for video in now])
        for video, found in zip(now, finished, strict=True):
            results[video] += found
    for video, state in enumerate(states):
        found = results[video] + engine.flush(state)
        for result, expected in zip(found, alone(method, video), strict=True):
            assert close(result, expected)
            assert result.video_id == video and result.is_key_frame == expected.is_key_frame


def test_frames_of_a_batch_go_through_the_network_together(model):
    engine = VideoEngine(model, 'propagate', key_interval=INTERVAL)
    states = [engine.open() for _ in range(4)]
    counts = []
    network = model.spatial.feature_network[0]
    hooks = [
        network.register_forward_hook(lambda m, i, o: counts.append(('key', len(i[0])))),
        model.temporal.register_forward_hook(lambda m, i, o: counts.append(('flow', len(i[0])))),
    ]
    for index in range(2):
        engine.push_batch([batch(video, index) for video in range(4)], states)
    for hook in hooks:
        hook.remove()
    assert counts == [('key', 4), ('flow', 4)]


def test_streams_of_different_sizes_share_an_engine(model, alone):
    engine = VideoEngine(model, 'propagate', key_interval=INTERVAL)
    states = [engine.open(), engine.open()]
    for index in range(FRAMES):
        (result,), (small,) = engine.push_batch([batch(0, index), smaller(1, index)], states)
        assert same(result, alone('propagate', 0)[index])
        assert small.is_key_frame == (index % INTERVAL == 0)


def smaller(video: int, index: int) -> dict:
    data = batch(video, index)
    data['inputs'] = [data['inputs'][0][:, :32, :64].contiguous()]
    data['data_samples'][0].set_metainfo(dict(ori_shape=(32, 64), img_shape=(32, 64)))
    return data


@pytest.mark.parametrize('method', list(METHODS.module_dict))
def test_a_new_size_begins_anew(model, method):
    """Nothing of the frames before is used, none of their results is lost, and the schedule counts from there."""
    engine = VideoEngine(model, method, key_interval=INTERVAL)
    results = []
    for index in range(2):
        results += engine.push(batch(0, index))
    for index in range(2, 7):
        results += engine.push(smaller(0, index))
    results += engine.flush()
    assert [result.frame_id for result in results] == list(range(7))
    fresh = VideoEngine(model, method, key_interval=INTERVAL)
    expected = []
    for index in range(2, 7):
        expected += fresh.push(smaller(0, index))
    expected += fresh.flush()
    assert all(same(*pair) for pair in zip(results[2:], expected, strict=True))
    if method != 'frame':
        keys = [result.frame_id for result in results if result.is_key_frame]
        assert keys == [0, 2, 5]


def test_states_do_not_grow(model):
    engine = VideoEngine(model, 'propagate', key_interval=INTERVAL)
    state, sizes = engine.open(), []
    for index in range(3 * INTERVAL):
        engine.push(batch(0, index), state)
        stored = io.BytesIO()
        torch.save(state, stored)
        sizes.append(stored.tell())
    assert state.index == 3 * INTERVAL
    assert max(sizes) - min(sizes) < 100


def test_batched_key_frames_do_not_keep_each_other_alive(model):
    engine = VideoEngine(model, 'propagate', key_interval=INTERVAL)
    states = [engine.open() for _ in range(3)]
    engine.push_batch([batch(video, 0) for video in range(3)], states)
    for level in states[0].memory.key_frame.features:
        assert level.untyped_storage().nbytes() == level.numel() * level.element_size()


def test_a_stream_twice_in_a_batch_is_refused(model):
    engine = VideoEngine(model, 'propagate', key_interval=INTERVAL)
    state = engine.open()
    with pytest.raises(ValueError, match='twice'):
        engine.push_batch([batch(0, 0), batch(0, 1)], [state, state])


def test_schedules_count_from_the_last_key_frame(model):
    schedule, engine = FixedSchedule(4), VideoEngine(model, 'copy')
    state = engine.open()
    state.distance = 3
    assert not schedule.is_key(state, {})
    state.distance = 4
    assert schedule.is_key(state, {})
