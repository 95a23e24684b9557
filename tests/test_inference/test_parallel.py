"""Intervals of a file in parallel threads."""

import copy
import threading

import pytest
import torch

from semidff.inference import FixedSchedule, SceneCutSchedule, VideoEngine
from semidff.inference.methods import METHODS
from semidff.inference.parallel import ParallelEngine
from tests.test_inference.test_video_engine import all_same, walk
from tests.tiny_video import batch

FRAMES, INTERVAL = 12, 5


def batches(frames: int = FRAMES):
    return (batch(0, index) for index in range(frames))


@pytest.mark.parametrize('method', list(METHODS.module_dict))
@pytest.mark.parametrize('workers', [1, 3])
def test_results_are_those_of_the_engine(model, method, workers):
    engine = VideoEngine(model, method, INTERVAL)
    results = list(ParallelEngine(engine, workers).run(batches()))
    expected = walk(VideoEngine(model, method, INTERVAL), frames=FRAMES)
    assert [result.frame_id for result in results] == list(range(FRAMES))
    assert [r.is_key_frame for r in results] == [r.is_key_frame for r in expected]
    assert all_same(results, expected, 1e-3)


@pytest.mark.parametrize('method', ['propagate', 'blend', 'interpolate', 'coast'])
def test_intervals_begin_at_scene_cuts_and_changes_of_size(model, method):
    frames = [batch(0, index) for index in range(7)]
    for data in frames[4:]:
        data['inputs'] = [255 - data['inputs'][0]]
    for data in frames[5:]:
        data['inputs'] = [data['inputs'][0][:, :, :64].contiguous()]
    schedule = SceneCutSchedule(FixedSchedule(2))
    engine = VideoEngine(model, method, schedule=schedule)
    results = list(ParallelEngine(engine, 2).run(copy.deepcopy(frames)))
    expected = engine.run(frames)
    assert [r.is_key_frame for r in results] == [True, False, True, False, True, True, False]
    assert all_same(results, list(expected), 1e-3)


def test_weights_are_shared_and_intermediate_results_are_not(model):
    parallel = ParallelEngine(VideoEngine(model, 'propagate', INTERVAL), 2)
    first, second = parallel._free.get().model, parallel._free.get().model
    assert first.spatial.detector is not second.spatial.detector
    for pair in zip(first.parameters(), second.parameters(), model.parameters(), strict=True):
        assert len({weight.data_ptr() for weight in pair}) == 1


def test_threads_end_with_the_iterator_and_the_number_of_cores_is_kept(model):
    before, threads = torch.get_num_threads(), threading.active_count()
    results = ParallelEngine(VideoEngine(model, 'propagate', INTERVAL), 2).run(batches())
    next(results)
    results.close()
    assert torch.get_num_threads() == before and threading.active_count() == threads


def test_an_error_in_a_thread_is_raised(model, monkeypatch):
    parallel = ParallelEngine(VideoEngine(model, 'propagate', INTERVAL), 2)
    broken = [*batches(6), dict(batch(0, 6), inputs=[torch.zeros(1, 64, 64, dtype=torch.uint8)])]
    with pytest.raises(Exception, match='channel|size|shape'):
        list(parallel.run(broken))


def test_what_it_supports(model):
    assert ParallelEngine.supports(VideoEngine(model, 'propagate', INTERVAL))
    assert not ParallelEngine.supports(VideoEngine(model, 'propagate', 1000))
