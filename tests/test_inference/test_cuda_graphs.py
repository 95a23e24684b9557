"""CUDA graphs on a CPU, where a graph calls its function: the results of eager frames, and what is copied and held."""

import copy
import gc
from weakref import ref

import pytest
import torch

from semidff.inference import (
    Acceleration,
    AdaptiveSchedule,
    ErrorPredictor,
    VideoEngine,
    accelerate,
    cuda_graphs,
)
from semidff.inference.executors.cuda_graphs import CapturedFunction
from tests import models
from tests.detectors.graph_path import count
from tests.test_inference.test_acceleration import unmatched
from tests.tiny_video import batch

GRAPHS = Acceleration(graphs=True)


def detector(kind: str = 'rfcn') -> torch.nn.Module:
    return models.tiny_video_detector(kind).eval()


@pytest.fixture
def captured(monkeypatch) -> list:
    """Graphs that are captured, and those whose capture fails."""
    made = []

    class Recorder(CapturedFunction):
        def __init__(self, *args):
            made.append(ref(self))
            super().__init__(*args)

    monkeypatch.setattr(cuda_graphs, 'CapturedFunction', Recorder)
    return made


def detect(model, method='propagate', chunked=False, frames=9, **options) -> list:
    engine = VideoEngine(model, method, key_interval=4, **options)
    return list(engine.run((batch(0, i) for i in range(frames)), chunked))


def assert_same(found, expected):
    """Batches differ in rounding. In a frame, proposals have equal scores at their limit: either may be left out."""
    found, expected = ([r.pred_instances for r in results] for results in (found, expected))
    assert min(map(len, expected)) > 2
    few = 0.04 * sum(map(len, expected))
    assert max(unmatched(found, expected, 1e-5), unmatched(expected, found, 1e-5)) <= few


@pytest.mark.parametrize('kind', models.KINDS)
@pytest.mark.parametrize(
    ('method', 'chunked'),
    [('propagate', False), ('propagate', True), ('centered', False), ('frame', False)],
)
def test_results_are_those_of_eager_frames(kind, method, chunked, captured):
    model = detector(kind)
    expected = detect(model, method, chunked, 13)
    found = detect(accelerate(copy.deepcopy(model), GRAPHS), method, chunked, 13)
    assert_same(found, expected)
    assert len(captured) >= 1 + (method != 'frame')


@pytest.mark.parametrize(
    'options', [GRAPHS._replace(channels_last=True), GRAPHS._replace(precision='bf16')]
)
def test_other_options_apply_in_graphs(options, captured):
    expected = detect(accelerate(detector('retinanet'), options._replace(graphs=False)))
    assert_same(detect(accelerate(detector('retinanet'), options)), expected)
    assert len(captured) == 2


@pytest.mark.parametrize('kind', models.KINDS)
def test_nothing_waits_ahead_of_the_results(kind):
    eager = count(detector(kind))
    for before, one in zip(eager, count(accelerate(detector(kind), GRAPHS)), strict=True):
        assert before.round_trips > 5 and one.round_trips == 0
        assert one.kernels <= 5 < 100 < one.inside


def test_streams_of_one_batch_keep_their_key_frames(captured):
    """Results of each stream as alone, though all use the same memory in turn."""
    model = detector('retinanet')
    engine = VideoEngine(accelerate(copy.deepcopy(model), GRAPHS), key_interval=3)
    states = [engine.open() for _ in range(3)]
    found = [[] for _ in states]
    for index in range(8):
        # The third stream skips frames, so that batches have two frames or three.
        some = [0, 1] if index % 2 else [0, 1, 2]
        results = engine.push_batch([batch(i, index) for i in some], [states[i] for i in some])
        for i, finished in zip(some, results, strict=True):
            found[i] += finished
    for video, own in enumerate(found):
        plain = VideoEngine(copy.deepcopy(model), key_interval=3)
        frames = range(0, 8, 2) if video == 2 else range(8)
        assert_same(own, [r for i in frames for r in plain.push(batch(video, i))])
    assert len(captured) == 3


def test_interleaved_streams(captured):
    model = accelerate(detector('rfcn'), GRAPHS)
    engine = VideoEngine(model, key_interval=5)
    states = [engine.open() for _ in range(2)]
    found = [[], []]
    for index in range(9):
        for video, state in enumerate(states):
            found[video] += engine.push(batch(video, index), state)
    for video, own in enumerate(found):
        plain = VideoEngine(detector('rfcn'), key_interval=5)
        assert_same(own, [r for i in range(9) for r in plain.push(batch(video, i))])
    assert len(captured) == 2


@pytest.mark.parametrize(
    'options',
    [
        dict(keep_fields=True),
        dict(schedule=AdaptiveSchedule(ErrorPredictor([0.0] * 4, 0.0), tolerance=3.0)),
    ],
)
def test_flow_fields_and_schedules(options):
    model = detector('retinanet')
    found = detect(accelerate(copy.deepcopy(model), GRAPHS), **options)
    expected = detect(model, **options)
    assert_same(found, expected)
    if 'keep_fields' in options:
        flows = [[r.feature_flow for r in rs if 'feature_flow' in r] for rs in (found, expected)]
        assert len(flows[0]) == 6 and all(map(torch.equal, *flows))


@pytest.mark.parametrize('method', ['sff-fast', 'coast', 'blend'])
def test_every_method(method):
    model = detector('rfcn')
    assert_same(detect(accelerate(copy.deepcopy(model), GRAPHS), method), detect(model, method))


def test_runs_eagerly_where_a_capture_fails(captured, monkeypatch):
    warnings = []
    monkeypatch.setattr(cuda_graphs, 'log_warning', warnings.append)
    model = detector('retinanet')
    reading = copy.deepcopy(model)
    reading.spatial.detector.neck.register_forward_hook(
        lambda module, inputs, outputs: None if outputs[0].mean().item() else outputs
    )
    assert_same(detect(accelerate(reading, GRAPHS), frames=13), detect(model, frames=13))
    assert len(captured) == 3 + 1, 'not tried again for key frames; non-key frames once'
    (text,) = warnings
    assert 'runs without CUDA graph' in text and 'depend on the frame' in text


def test_a_graph_with_other_results_is_not_used(monkeypatch):
    warnings = []
    monkeypatch.setattr(cuda_graphs, 'log_warning', warnings.append)
    zeros = dict(replay=lambda self: [maps.zero_() for maps in self._outputs.values()])
    monkeypatch.setattr(cuda_graphs, 'CapturedFunction', type('Zeros', (CapturedFunction,), zeros))
    model = detector('retinanet')
    assert_same(detect(accelerate(copy.deepcopy(model), GRAPHS)), detect(model))
    (text,) = warnings
    assert 'runs without CUDA graph' in text and 'not close' in text


def test_memory_is_that_of_the_last_sizes(captured, monkeypatch):
    monkeypatch.setattr(cuda_graphs, 'MAX_GRAPHS', 2)
    engine = VideoEngine(accelerate(detector('retinanet'), GRAPHS), 'frame')
    for streams in (1, 2, 3):
        states = [engine.open() for _ in range(streams)]
        for index in range(3):
            engine.push_batch([batch(i, index) for i in range(streams)], states)
    gc.collect()
    assert [graph() is not None for graph in captured] == [False, True, True]


def test_copies_have_graphs_of_their_own(captured):
    fast = accelerate(detector('rfcn'), GRAPHS)
    expected = detect(fast)
    assert_same(detect(copy.deepcopy(fast)), expected)
    assert len(captured) == 4
    assert detect(fast.with_temporal(None), 'frame') and len(captured) == 5


def test_excludes_compilation():
    with pytest.raises(ValueError, match='compile and graphs exclude each other'):
        accelerate(detector('rfcn'), GRAPHS._replace(compile=True))
    assert accelerate(detector('rfcn'), Acceleration()).graphs is None, 'on a CPU'
