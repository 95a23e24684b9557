"""Invariants of the ways through a video and through several at a time, with a real detector."""

import io
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample

from semidff.inference import METHODS, FixedSchedule, KeyFrameSchedule, MethodError, VideoEngine
from semidff.inference.methods import methods_where
from tests.tiny.videos import batch, build, detector_cfg

FRAMES, INTERVAL = 9, 4
OFFLINE = ('interpolate', 'centered', 'blend')
every_method = pytest.mark.parametrize('method', list(METHODS.module_dict))
unfiltered = pytest.mark.parametrize('method', methods_where(lambda kind: not kind.key_only))


def walk(engine: VideoEngine, video: int = 0, frames: int = FRAMES) -> list[DetDataSample]:
    results = []
    for index in range(frames):
        results += engine.push(batch(video, index))
    results += engine.flush()
    engine.reset()
    return results


def results_of(model, method: str, video: int = 0, **options) -> list[DetDataSample]:
    return walk(VideoEngine(model, method, **{'key_interval': INTERVAL, **options}), video)


def keys_of(results: list[DetDataSample]) -> list[int]:
    return [result.frame_id for result in results if result.is_key_frame]


def same(first: DetDataSample, second: DetDataSample, tolerance: float = 0) -> bool:
    a, b = first.pred_instances, second.pred_instances
    return len(a) == len(b) and all(
        torch.allclose(a[key].float(), b[key].float(), rtol=0, atol=tolerance)
        for key in ('bboxes', 'scores', 'labels')
    )


def all_same(some, others, tolerance: float = 0) -> bool:
    return all(same(*pair, tolerance) for pair in zip(some, others, strict=True))


def count_calls(module: torch.nn.Module) -> list[int]:
    """A list to which each call of a module appends its batch size."""
    sizes = []
    module.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    return sizes


@pytest.fixture(scope='module')
def by_frame(model):
    results = results_of(model, 'frame')
    assert min(len(result.pred_instances) for result in results) > 3
    assert not any(same(first, second) for first, second in pairwise(results))
    return results


@unfiltered
def test_interval_of_one_is_frame_by_frame(model, by_frame, method):
    assert all_same(results_of(model, method, key_interval=1), by_frame)


@unfiltered
def test_key_frames_equal_frame_and_order_is_kept(model, by_frame, method):
    engine = VideoEngine(model, method, INTERVAL)
    walk(engine, video=1, frames=6)
    results = walk(engine)
    assert all_same(results, results_of(model, method)), 'nothing of another video is left'
    assert [result.frame_id for result in results] == list(range(FRAMES))
    assert keys_of(results) == list(range(0, FRAMES, 1 if method == 'frame' else INTERVAL))
    assert all(same(results[key], by_frame[key]) for key in keys_of(results))


def test_copy_repeats_the_key_frame(model, by_frame):
    expected = [by_frame[i // INTERVAL * INTERVAL] for i in range(FRAMES)]
    assert all_same(results_of(model, 'copy'), expected)


@every_method
def test_causal_methods_answer_at_once_and_offline_ones_wait(model, method):
    engine = VideoEngine(model, method, INTERVAL)
    counts = [len(engine.push(batch(0, index))) for index in range(6)]
    assert counts == ([1, 0, 0, 0, 4, 0] if method in OFFLINE else [1] * 6)
    assert len(engine.flush()) == (1 if method in OFFLINE else 0)


@pytest.mark.parametrize('method', ['propagate', 'copy', 'track', 'interpolate'])
def test_the_feature_network_runs_on_key_frames_only(model, by_frame, method):
    calls = count_calls(model.spatial.detector.backbone)
    results = results_of(model, method)
    assert len(calls) == 3  # frames 0, 4 and 8
    if method == 'propagate':
        copied = results_of(model, 'copy')
        for i in (1, 2, 3, 5, 6, 7):
            assert not same(results[i], copied[i]) and not same(results[i], by_frame[i])


def test_propagation_comes_from_the_key_frame_not_from_the_frame_before(model):
    full = results_of(model, 'propagate', key_interval=10)
    engine = VideoEngine(model, 'propagate', key_interval=10)
    engine.push(batch(0, 0))
    assert same(engine.push(batch(0, 5))[0], full[5])


@pytest.mark.parametrize('method', ['frame', 'copy', 'small', 'interpolate'])
def test_any_mmdet_detector_will_do(method):
    detector = build(detector_cfg())
    results = results_of(detector, method)
    data = detector.data_preprocessor(batch(0, 4), False)
    with torch.no_grad():
        expected = detector.predict(data['inputs'], data['data_samples'])[0]
    assert same(results[4], expected)


def test_flow_is_kept_on_request_only(model):
    results = results_of(model, 'propagate', keep_fields=True)
    assert [('feature_flow' in result) for result in results] == [i % 4 != 0 for i in range(FRAMES)]
    assert results[1].feature_flow.shape == (2, 4, 6)
    assert 'feature_flow' not in results_of(model, 'propagate')[1]


def test_what_an_engine_cannot_do_is_refused(model):
    with pytest.raises(MethodError, match='needs a temporal module'):
        VideoEngine(build(detector_cfg()), 'propagate')
    with pytest.raises(MethodError, match="'magic'"):
        VideoEngine(model, 'magic')
    data = {key: value * 2 for key, value in batch(0, 0).items()}
    engine = VideoEngine(model, 'copy')
    with pytest.raises(ValueError, match='2 frames'):
        engine.push(data)
    state = engine.open()
    with pytest.raises(ValueError, match='twice'):
        engine.push_batch([batch(0, 0), batch(0, 1)], [state, state])


def test_intervals():
    assert FixedSchedule(np.int64(5)).interval == FixedSchedule(5.0).interval == 5
    for interval in (0, 2.5):
        with pytest.raises(ValueError, match=str(interval)):
            FixedSchedule(interval)
        with pytest.raises(ValueError, match=str(interval)):
            FixedSchedule(4, first=interval)


def test_the_second_key_frame_may_come_sooner(model):
    first_three = FixedSchedule(4, first=3)
    for video in range(2):
        assert keys_of(results_of(model, 'copy', video, schedule=first_three)) == [0, 3, 7]


def timed(index: int, pause: float = 0) -> dict:
    """A frame of a camera of 25 frames/s, which pauses ahead of frame 6."""
    data = batch(0, index)
    data['data_samples'][0].set_metainfo(dict(timestamp=index / 25 + pause * (index >= 6)))
    return data


@pytest.mark.parametrize('filter', [None, 'both'])
@every_method
def test_nothing_is_carried_across_a_gap_in_time(model, method, filter):
    def run(frames):
        return list(VideoEngine(model, method, INTERVAL, filter=filter).run(frames))

    def push(frames):
        engine = VideoEngine(model, method, INTERVAL, filter=filter)
        return [one for frame in frames for one in engine.push(frame)] + engine.flush()

    for walk in (run, push):
        results = walk([timed(index, pause=100) for index in range(12)])
        assert all_same(results, walk(batches(12)[:6]) + walk(batches(12)[6:]))
        assert keys_of(results)[-2:] == ([10, 11] if method == 'frame' else [6, 10])
    assert all_same(run([timed(index) for index in range(12)]), run(batches(12)))


def without(frames: int, *dropped: int) -> list[dict]:
    """Frames of a live source that dropped some."""
    kept, before = [], -1
    for index in sorted({*range(frames)} - {*dropped}):
        data = batch(0, index)
        data['data_samples'][0].set_metainfo(dict(dropped=index - before - 1))
        kept, before = [*kept, data], index
    return kept


@unfiltered
def test_frames_that_were_dropped_count(model, method):
    """Results of the others are the same, if no key frame was dropped."""
    expected, engine = results_of(model, method), VideoEngine(model, method, INTERVAL)
    found = [one for data in without(FRAMES, 1, 3, 6, 7) for one in engine.push(data)]
    found += engine.flush()
    assert [one.frame_id for one in found] == [0, 2, 4, 5, 8]
    assert all_same(found, [expected[one.frame_id] for one in found], 1e-3)


def test_a_key_or_light_frame_that_was_dropped_is_the_next_one(model):
    engine = VideoEngine(model, 'copy', 6, light_every=2)
    found = [one for data in without(14, 2, 6, 7, 10) for one in engine.push(data)]
    kinds = {one.frame_id: one.frame_kind for one in found}
    assert [n for n, kind in kinds.items() if kind == 'key'] == [0, 8]
    assert [n for n, kind in kinds.items() if kind == 'light'] == [3, 4, 11, 12]


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
    schedule, calls = Observing(), count_calls(model.temporal.flow_network)
    results = results_of(model, 'propagate', schedule=schedule)
    assert len(calls) == 6
    assert keys_of(results) == [0, 4, 8] and schedule.keys == [(0, 0), (4, 4), (8, 8)]
    fields = ((1, 2, 4, 6), (1, 8, 4, 6))
    distances = {1: 1, 2: 2, 3: 3, 5: 1, 6: 2, 7: 3}
    assert schedule.seen == [(index, far, *fields) for index, far in distances.items()]
    assert all_same(results, results_of(model, 'propagate'))


@pytest.mark.parametrize('method', ['copy', 'centered', 'frame'])
def test_a_schedule_that_observes_needs_a_method_with_flow_fields(model, method):
    with pytest.raises(MethodError, match='propagate'):
        VideoEngine(model, method, schedule=Observing())


def test_frames_of_a_batch_go_through_the_network_together(model):
    engine = VideoEngine(model, 'propagate', INTERVAL)
    states = [engine.open() for _ in range(4)]
    sizes = [count_calls(net) for net in (model.spatial.feature_network[0], model.temporal)]
    for index in range(2):
        engine.push_batch([batch(video, index) for video in range(4)], states)
    assert sizes == [[4], [4]]
    for level in states[0].interval.features.features:  # not kept alive by the batch
        assert level.untyped_storage().nbytes() == level.numel() * level.element_size()


def test_states_do_not_grow(model):
    engine = VideoEngine(model, 'propagate', INTERVAL)
    state, sizes = engine.open(), []
    for index in range(3 * INTERVAL):
        engine.push(batch(0, index), state)
        stored = io.BytesIO()
        torch.save(state, stored)
        sizes.append(stored.tell())
    assert state.index == 3 * INTERVAL - 1
    assert max(sizes) - min(sizes) < 100


# --- files ----------------------------------------------------------------------------------------------------


def batches(frames: int) -> list[dict]:
    return [batch(0, index) for index in range(frames)]


def test_weights_are_shared_and_intermediate_results_are_not(model):
    first, second = model.independent(), model.independent()
    assert first.spatial.detector is not second.spatial.detector
    for pair in zip(first.parameters(), second.parameters(), model.parameters(), strict=True):
        assert len({weight.data_ptr() for weight in pair}) == 1


def test_threads_end_with_the_iterator_and_the_number_of_cores_is_kept(model):
    before, threads = torch.get_num_threads(), threading.active_count()
    results = VideoEngine(model, 'propagate', INTERVAL).run(batches(12), 2)
    next(results)
    results.close()
    assert torch.get_num_threads() == before and threading.active_count() == threads


def test_an_error_in_a_thread_is_raised(model, monkeypatch):
    engine = VideoEngine(model, 'propagate', INTERVAL)
    broken = [*batches(6), dict(batch(0, 6), inputs=[torch.zeros(1, 64, 64, dtype=torch.uint8)])]
    with pytest.raises(Exception, match='channel|size|shape'):
        list(engine.run(broken, 2))


def test_a_compiled_model_has_one_worker(model):
    model.temporal.flow_network.compile(backend='eager')
    assert model.independent() is None
    engine = VideoEngine(model, 'propagate', INTERVAL)
    assert all_same(list(engine.run(batches(7), 3)), list(engine.run(batches(7))))
