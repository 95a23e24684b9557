"""Intervals of a file in parallel threads."""

import copy
import threading

import pytest
import torch

from semidff.inference import FixedSchedule, SceneCutSchedule, VideoEngine
from semidff.inference.methods import METHODS
from tests.test_inference.test_video_engine import all_same, walk
from tests.tiny.videos import batch

FRAMES, INTERVAL = 12, 5


def batches(frames: int = FRAMES):
    return (batch(0, index) for index in range(frames))


@pytest.mark.parametrize('method', list(METHODS.module_dict))
@pytest.mark.parametrize('workers', [1, 3])
def test_results_are_those_of_the_engine(model, method, workers):
    engine = VideoEngine(model, method, INTERVAL)
    results = list(engine.run(batches(), workers))
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
    results = list(engine.run(copy.deepcopy(frames), 2))
    expected = engine.run(frames)
    assert [r.is_key_frame for r in results] == [True, False, True, False, True, True, False]
    assert all_same(results, list(expected), 1e-3)


def test_weights_are_shared_and_intermediate_results_are_not(model):
    first, second = model.independent(), model.independent()
    assert first.spatial.detector is not second.spatial.detector
    for pair in zip(first.parameters(), second.parameters(), model.parameters(), strict=True):
        assert len({weight.data_ptr() for weight in pair}) == 1


def test_threads_end_with_the_iterator_and_the_number_of_cores_is_kept(model):
    before, threads = torch.get_num_threads(), threading.active_count()
    results = VideoEngine(model, 'propagate', INTERVAL).run(batches(), 2)
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
