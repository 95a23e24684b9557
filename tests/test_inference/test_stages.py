"""Invariants of the stages, with a real detector."""

import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample

from semidff.inference import METHODS, FixedSchedule, MethodError, Stages
from semidff.inference.methods import methods_where
from tests.tiny.stages import frame_of, live, results, stages, together
from tests.tiny.videos import batch, build, detector_cfg

FRAMES, INTERVAL = 9, 4
OFFLINE = ('interpolate', 'centered')
every_method = pytest.mark.parametrize('method', list(METHODS.module_dict))
unfiltered = pytest.mark.parametrize(
    'method', methods_where(lambda kind: not kind.key_only and not kind.sequential)
)


def walk(run: Stages, video: int = 0, frames: int = FRAMES) -> list[DetDataSample]:
    return live(run, [batch(video, index) for index in range(frames)])


def results_of(model, method: str, video: int = 0, **options) -> list[DetDataSample]:
    return walk(stages(model, method, **{'key_interval': INTERVAL, **options}), video)


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
def test_key_frames_equal_frame_and_order_is_kept(model, by_frame, method):
    run = stages(model, method, INTERVAL)
    walk(run, video=1, frames=6)
    results = walk(run)
    assert all_same(results, results_of(model, method)), 'nothing of another video is left'
    assert [result.frame_id for result in results] == list(range(FRAMES))
    assert keys_of(results) == list(range(0, FRAMES, 1 if method == 'frame' else INTERVAL))
    assert all(same(results[key], by_frame[key]) for key in keys_of(results))
    assert all_same(results_of(model, method, key_interval=1), by_frame)


def test_copy_repeats_the_key_frame(model, by_frame):
    expected = [by_frame[i // INTERVAL * INTERVAL] for i in range(FRAMES)]
    assert all_same(results_of(model, 'copy'), expected)


@every_method
def test_causal_methods_answer_at_once_and_offline_methods_wait(model, method):
    read = []

    def source():
        for index in range(6):
            read.append(index)
            yield frame_of(batch(0, index))

    run = stages(model, method, INTERVAL).run(source(), chunk=1)
    expected = [1, 5, 5, 5, 5, 6] if method in OFFLINE else [1, 2, 3, 4, 5, 6]
    assert [len(read) for _ in run] == expected


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
    found = live(stages(model, 'propagate', key_interval=10), [batch(0, 0), batch(0, 5)])
    assert same(found[1], full[5])


@pytest.mark.parametrize('method', ['frame', 'interpolate'])
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


def test_what_a_model_cannot_do_is_refused(model):
    with pytest.raises(MethodError, match='needs a temporal module'):
        stages(build(detector_cfg()), 'propagate')
    with pytest.raises(MethodError, match="'magic'"):
        stages(model, 'magic')


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


def without(frames: int, *dropped: int) -> list[dict]:
    """Frames of a live source that dropped some."""
    kept, before = [], -1
    for index in sorted({*range(frames)} - {*dropped}):
        data = batch(0, index)
        data['data_samples'][0].set_metainfo(dict(dropped=index - before - 1))
        kept, before = [*kept, data], index
    return kept


@pytest.mark.parametrize('method', ['propagate', 'interpolate'])
def test_frames_that_were_dropped_count(model, method):
    """Results of the others are the same, if no key frame was dropped."""
    expected = results_of(model, method)
    found = live(stages(model, method, INTERVAL), without(FRAMES, 1, 3, 6, 7))
    assert [one.frame_id for one in found] == [0, 2, 4, 5, 8]
    assert all_same(found, [expected[one.frame_id] for one in found], 1e-3)


def test_a_key_or_light_frame_that_was_dropped_is_the_next_one(model):
    found = live(stages(model, 'copy', 6, light_every=2), without(14, 2, 6, 7, 10))
    kinds = {one.frame_id: one.frame_kind for one in found}
    assert [n for n, kind in kinds.items() if kind == 'key'] == [0, 8]
    assert [n for n, kind in kinds.items() if kind == 'light'] == [3, 4, 11, 12]


def test_frames_of_a_batch_go_through_the_network_together(model):
    sizes = [count_calls(net) for net in (model.spatial.feature_network[0], model.temporal)]
    turns = [{video: batch(video, index) for video in range(4)} for index in range(2)]
    together(stages(model, 'propagate', INTERVAL), turns)
    assert sizes == [[4], [4]]


def test_what_is_kept_of_a_video_does_not_grow(model):
    """No frame keeps the pixels, the result or the features of another one."""
    run = stages(model, 'propagate', INTERVAL).run(map(frame_of, batches(2 * INTERVAL)), chunk=1)
    for frame in run:
        assert frame.inputs is None and frame.done is None and frame.features is None
        if frame.key:
            assert frame.key.image is frame.key.sample is frame.key.picture is None
            for level in frame.key.features.features:  # not kept alive by a batch
                assert level.untyped_storage().nbytes() == level.numel() * level.element_size()
    assert frame.key.next is None


# Files


def batches(frames: int) -> list[dict]:
    return [batch(0, index) for index in range(frames)]


def test_weights_are_shared_and_intermediate_results_are_not(model):
    first, second = model.independent(), model.independent()
    assert first.spatial.detector is not second.spatial.detector
    for pair in zip(first.parameters(), second.parameters(), model.parameters(), strict=True):
        assert len({weight.data_ptr() for weight in pair}) == 1


def test_threads_end_with_the_iterator_and_the_number_of_cores_is_kept(model):
    before, threads = torch.get_num_threads(), threading.active_count()
    run = stages(model, 'propagate', INTERVAL).run(map(frame_of, batches(12)), 2)
    next(run)
    run.close()
    assert torch.get_num_threads() == before and threading.active_count() == threads


@pytest.mark.parametrize('workers', [1, 2])
def test_an_error_comes_at_its_frame(model, workers):
    def broken():
        yield from map(frame_of, batches(6))
        raise OSError('the disk')

    found, run = [], stages(model, 'propagate', INTERVAL).run(broken(), workers)
    with pytest.raises(OSError, match='the disk'):
        found += run
    with pytest.raises(OSError, match='the disk'):
        for frame in stages(model, 'centered', INTERVAL).run(broken(), workers):
            found.append(frame)
    assert [frame.index for frame in found] == [*range(6)] * 2


def test_an_error_in_a_thread_is_raised(model):
    broken = [*batches(6), dict(batch(0, 6), inputs=[torch.zeros(1, 64, 64, dtype=torch.uint8)])]
    with pytest.raises(Exception, match='channel|size|shape'):
        results(stages(model, 'propagate', INTERVAL), broken, 2)


def test_a_compiled_model_has_one_worker(model):
    model.temporal.flow_network.compile(backend='eager')
    assert model.independent() is None
    run = stages(model, 'propagate', INTERVAL)
    assert all_same(results(run, batches(7), 3), results(run, batches(7)))
