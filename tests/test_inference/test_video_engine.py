"""Invariants of the ways through a video, with a real detector."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample

from semidff.inference import METHODS, FixedSchedule, KeyFrameSchedule, MethodError, VideoEngine
from tests.tiny_video import batch, build, detector_cfg, video_detector_cfg

FRAMES = 9


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg())


def walk(engine: VideoEngine, video: int = 0, frames: int = FRAMES) -> list[DetDataSample]:
    results = []
    for index in range(frames):
        results += engine.push(batch(video, index))
    results += engine.flush()
    engine.reset()
    return results


def same(first: DetDataSample, second: DetDataSample) -> bool:
    a, b = first.pred_instances, second.pred_instances
    return len(a) == len(b) and all(
        torch.equal(a[key], b[key]) for key in ('bboxes', 'scores', 'labels')
    )


@pytest.fixture(scope='module')
def by_frame(model):
    results = walk(VideoEngine(model, 'frame'))
    assert min(len(result.pred_instances) for result in results) > 3
    assert not any(same(first, second) for first, second in pairwise(results))
    return results


@pytest.mark.parametrize('method', list(METHODS.module_dict))
def test_interval_of_one_is_frame_by_frame(model, by_frame, method):
    results = walk(VideoEngine(model, method, key_interval=1))
    assert all(same(result, expected) for result, expected in zip(results, by_frame, strict=True))


@pytest.mark.parametrize('method', list(METHODS.module_dict))
def test_key_frames_equal_frame_and_order_is_kept(model, by_frame, method):
    results = walk(VideoEngine(model, method, key_interval=4))
    assert [result.frame_id for result in results] == list(range(FRAMES))
    expected = [True] * FRAMES if method == 'frame' else [i % 4 == 0 for i in range(FRAMES)]
    assert [result.is_key_frame for result in results] == expected
    for result, reference in zip(results, by_frame, strict=True):
        if result.is_key_frame:
            assert same(result, reference)


@pytest.mark.parametrize('method', list(METHODS.module_dict))
def test_videos_do_not_see_each_other(model, method):
    engine = VideoEngine(model, method, key_interval=4)
    walk(engine, video=1, frames=6)
    after = walk(engine, video=0)
    fresh = walk(VideoEngine(model, method, key_interval=4), video=0)
    assert all(same(first, second) for first, second in zip(after, fresh, strict=True))


def test_copy_repeats_the_key_frame(model, by_frame):
    results = walk(VideoEngine(model, 'copy', key_interval=4))
    assert all(same(result, by_frame[i // 4 * 4]) for i, result in enumerate(results))


OFFLINE = ('interpolate', 'centered', 'blend')


def test_causal_methods_answer_at_once_and_offline_ones_wait(model):
    for method in METHODS.module_dict:
        engine = VideoEngine(model, method, key_interval=4)
        counts = [len(engine.push(batch(0, index))) for index in range(6)]
        assert counts == ([1, 0, 0, 0, 4, 0] if method in OFFLINE else [1] * 6)
        assert len(engine.flush()) == (1 if method in OFFLINE else 0)


def test_propagation_moves_features_without_the_feature_network(model, by_frame):
    calls = []
    backbone = model.spatial.detector.backbone
    hook = backbone.register_forward_hook(lambda *_: calls.append(1))
    try:
        results = walk(VideoEngine(model, 'propagate', key_interval=4))
    finally:
        hook.remove()
    assert len(calls) == 3  # frames 0, 4 and 8
    copied = walk(VideoEngine(model, 'copy', key_interval=4))
    assert not any(same(results[i], copied[i]) for i in (1, 2, 3, 5, 6, 7))
    assert not any(same(results[i], by_frame[i]) for i in (1, 2, 3, 5, 6, 7))


def test_propagation_comes_from_the_key_frame_not_from_the_frame_before(model):
    full = walk(VideoEngine(model, 'propagate', key_interval=10))
    engine = VideoEngine(model, 'propagate', key_interval=10)
    engine.push(batch(0, 0))
    assert same(engine.push(batch(0, 5))[0], full[5])


@pytest.mark.parametrize('method', ['copy', 'coast', 'interpolate'])
def test_box_methods_run_nothing_between_key_frames(model, method):
    calls = []
    hook = model.spatial.detector.backbone.register_forward_hook(lambda *_: calls.append(1))
    walk(VideoEngine(model, method, key_interval=4))
    hook.remove()
    assert len(calls) == 3


@pytest.mark.parametrize('method', ['frame', 'copy', 'coast', 'interpolate'])
def test_any_mmdet_detector_will_do(method):
    detector = build(detector_cfg())
    results = walk(VideoEngine(detector, method, key_interval=4))
    data = detector.data_preprocessor(batch(0, 4), False)
    with torch.no_grad():
        expected = detector.predict(data['inputs'], data['data_samples'])[0]
    assert same(results[4], expected)


def test_flow_is_kept_on_request_only(model):
    engine = VideoEngine(model, 'propagate', key_interval=4, keep_fields=True)
    results = walk(engine)
    assert [('feature_flow' in result) for result in results] == [i % 4 != 0 for i in range(FRAMES)]
    assert results[1].feature_flow.shape == (2, 4, 6)
    assert 'feature_flow' not in walk(VideoEngine(model, 'propagate', key_interval=4))[1]


def test_propagate_without_temporal_module_is_refused():
    with pytest.raises(MethodError, match='needs a temporal module'):
        VideoEngine(build(detector_cfg()), 'propagate')


def test_unknown_method_and_several_frames_are_refused(model):
    with pytest.raises(MethodError, match="'magic'"):
        VideoEngine(model, 'magic')
    data = batch(0, 0)
    data = {key: value * 2 for key, value in data.items()}
    with pytest.raises(ValueError, match='2 frames'):
        VideoEngine(model, 'copy').push(data)


@pytest.mark.parametrize('interval', [0, -3, 2.5])
def test_bad_intervals_are_refused(interval):
    with pytest.raises(ValueError, match=str(interval)):
        FixedSchedule(interval)
    with pytest.raises(ValueError, match=str(interval)):
        FixedSchedule(4, first=interval)


def test_the_second_key_frame_may_come_sooner(model):
    first_three = FixedSchedule(4, first=3)
    results = walk(VideoEngine(model, 'copy', schedule=first_three))
    keys = [at for at, result in enumerate(results) if result.is_key_frame]
    assert keys == [0, 3, 7]
    engine = VideoEngine(model, 'copy', schedule=first_three)
    again = [engine.push(batch(1, at))[0].is_key_frame for at in range(4)]
    assert again == [True, False, False, True], 'of a stream, not of a schedule'


def test_another_schedule(model):
    class OnceOnly(KeyFrameSchedule):
        def is_key(self, state, data):
            return False

    results = walk(VideoEngine(model, 'copy', schedule=OnceOnly()))
    assert [result.is_key_frame for result in results] == [True] + [False] * (FRAMES - 1)


class Observing(KeyFrameSchedule):
    """Records its calls, with a key frame every 4 frames."""

    observes = True

    def __init__(self):
        self.seen, self.keys = [], []

    def is_key(self, state, data):
        return state.distance >= 4

    def observe(self, state, flow_field):
        self.seen.append(
            (state.index, state.distance, flow_field.flow.shape, flow_field.scale.shape)
        )

    def note_key(self, state, data):
        self.keys.append((state.index, data['data_samples'][0].frame_id))


def test_a_schedule_observes_the_flow_of_each_non_key_frame(model):
    calls = []
    hook = model.temporal.flow_network.register_forward_hook(lambda *_: calls.append(1))
    schedule = Observing()
    results = walk(VideoEngine(model, 'propagate', schedule=schedule), frames=7)
    assert len(calls) == 5
    hook.remove()
    keys = [0, 4]
    assert [r.frame_id for r in results if r.is_key_frame] == keys
    assert schedule.keys == [(key, key) for key in keys]
    fields = ((1, 2, 4, 6), (1, 8, 4, 6))
    distances = {1: 1, 2: 2, 3: 3, 5: 1, 6: 2}
    assert schedule.seen == [(index, far, *fields) for index, far in distances.items()]
    expected = walk(VideoEngine(model, 'propagate', key_interval=4), frames=7)
    assert all(same(*pair) for pair in zip(results, expected, strict=True))


@pytest.mark.parametrize('interval', [np.int64(5), 5.0])
def test_whole_numbers_of_any_type_are_intervals(interval):
    assert FixedSchedule(interval).interval == 5


@pytest.mark.parametrize('method', ['copy', 'centered', 'frame'])
def test_a_schedule_that_observes_needs_a_method_with_flow_fields(model, method):
    with pytest.raises(MethodError, match='propagate'):
        VideoEngine(model, method, schedule=Observing())
