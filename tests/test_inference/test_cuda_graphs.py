"""CUDA graphs on the simulated GPU: the results of eager frames on the CPU, what is captured, and what is not."""

import copy
import gc
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch

from semidff.inference import (
    METHODS,
    Acceleration,
    AdaptiveSchedule,
    ErrorPredictor,
    VideoEngine,
    accelerate,
)
from semidff.models.temporal.warp import warp
from tests import models
from tests.detectors.graph_path import on_gpu
from tests.simulated_gpu import Graph
from tests.tiny_video import SIZE, batch


def detector(kind: str = 'retinanet') -> torch.nn.Module:
    if kind == 'aligned':
        pooling = dict(type='PSRoIAlign', spatial_scale=1 / 16, sampling_ratio=2)
        return models.tiny_video_detector('rfcn', detector=models.rfcn(pooling=pooling)).eval()
    return models.tiny_video_detector(kind).eval()


def frames(video: int = 0, count: int = 9) -> list[dict]:
    return [batch(video, index) for index in range(count)]


def cropped(data: dict, width: int) -> dict:
    size = dict.fromkeys(('ori_shape', 'img_shape'), (SIZE[1], width))
    data['data_samples'][0].set_metainfo(size)
    return dict(data, inputs=[data['inputs'][0][..., :width].contiguous()])


def detect(model, method='propagate', chunked=False, data=None, **options) -> list:
    engine = VideoEngine(model, method, key_interval=4, **options)
    return list(engine.run(data or frames(), chunked))


def assert_same(found, expected):
    """Batches differ in rounding. In a frame, proposals have equal scores at their limit: either may be left out."""
    assert {r.pred_instances.bboxes.device.type for r in found} == {'cpu'}
    found, expected = ([r.pred_instances for r in results] for results in (found, expected))
    assert min(map(len, expected)) > 2
    few = 0.04 * sum(map(len, expected))
    for some, others in ((found, expected), (expected, found)):
        assert models.unmatched(some, others, 1e-5) <= few


CASES = [(kind, 'propagate', chunked) for kind in models.KINDS for chunked in (False, True)]
CASES += [('retinanet', method, True) for method in METHODS.module_dict if method != 'propagate']


@pytest.mark.parametrize(('kind', 'method', 'chunked'), CASES)
def test_results_are_those_of_eager_frames(kind, method, chunked, gpu):
    model, data = detector(kind), frames(count=13)
    assert_same(detect(on_gpu(model), method, chunked, data), detect(model, method, chunked, data))
    assert gpu.captures >= 1 and not gpu.failed_captures


@pytest.mark.parametrize(
    'options', [Acceleration(channels_last=True), Acceleration('bf16'), Acceleration('fp16', True)]
)
def test_other_options_apply_in_graphs(options, gpu):
    expected = detect(on_gpu(detector(), options._replace(graphs=False)))
    assert_same(detect(on_gpu(detector(), options)), expected)
    assert gpu.captures == 2


@pytest.mark.parametrize('kind', [*models.KINDS, 'aligned'])
def test_nothing_waits_ahead_of_the_results(kind, gpu):
    for graphs in (False, True):
        model = on_gpu(detector(kind), Acceleration(graphs=graphs))
        engine = VideoEngine(model, key_interval=4)
        for index in range(10):
            data = batch(0, index)
            data['inputs'] = [image.pin_memory() for image in data['inputs']]
            gpu.reset()
            engine.push(data)
            if index >= 8 and graphs:
                assert gpu.replays == 1 and gpu.kernels <= 5
                assert gpu.waits == Counter(synchronize=1)
            assert graphs or (gpu.kernels > 100 and gpu.waits.total() > 5)


def test_streams_of_one_batch_keep_their_key_frames(gpu):
    """Results of each stream as alone, though all use the same memory in turn."""
    model = detector()
    engine = VideoEngine(on_gpu(model), key_interval=4)
    states = [engine.open() for _ in range(3)]
    found = [[] for _ in states]
    for index in range(9):
        # The third stream skips frames, so that batches have two frames or three.
        some = [0, 1] if index % 2 else [0, 1, 2]
        results = engine.push_batch([batch(i, index) for i in some], [states[i] for i in some])
        for i, finished in zip(some, results, strict=True):
            found[i] += finished
    for video, own in enumerate(found):
        assert_same(own, detect(model, data=frames(video)[:: 1 + video // 2]))
    assert gpu.captures == 3


def test_interleaved_streams_of_two_sizes(gpu):
    model = detector('faster_rcnn')
    engine = VideoEngine(on_gpu(model), key_interval=4)
    videos = [frames(0), [cropped(data, 64) for data in frames(1)]]
    states, found = [engine.open() for _ in videos], [[], []]
    for both in zip(*videos, strict=True):
        for data, state, results in zip(both, states, found, strict=True):
            results += engine.push(copy.deepcopy(data), state)
    for own, data in zip(found, videos, strict=True):
        assert_same(own, detect(model, data=data))
    assert gpu.captures == 4


@pytest.mark.parametrize(
    'options',
    [
        dict(keep_fields=True),
        dict(schedule=AdaptiveSchedule(ErrorPredictor([0.0] * 4, 0.0), tolerance=3.0)),
    ],
)
def test_flow_fields_and_schedules(options, gpu):
    model = detector()
    found, expected = (detect(one, **options) for one in (on_gpu(model), model))
    assert_same(found, expected)
    if 'keep_fields' in options:
        flows = [
            [r.feature_flow.cpu() for r in rs if 'feature_flow' in r] for rs in (found, expected)
        ]
        assert len(flows[0]) == 6
        torch.testing.assert_close(*flows)


@pytest.mark.parametrize('first', [True, False])
def test_inference_mode_may_begin_or_end(first, gpu):
    model = detector()
    engine, found = VideoEngine(on_gpu(model), key_interval=4), []
    for index, data in enumerate(frames(count=13)):
        with torch.inference_mode(first == (index < 6)):
            found += engine.push(data)
    assert_same(found, detect(model, data=frames(count=13)))
    assert gpu.captures == 2


def test_constants_of_a_graph_stay(gpu):
    model = detector()
    own, expected = on_gpu(model), detect(model)
    detect(own)
    with torch.no_grad():
        for side in range(70):  # more sizes than the warp keeps coordinates of
            warp(*(torch.zeros(1, channels, 3, side + 1, device='cuda') for channels in (1, 2)))
    gc.collect()
    assert_same(detect(own), expected)


def capturing(action):
    """Return a hook that does something during captures."""
    return lambda *_: action() if torch.cuda.is_current_stream_capturing() else None


def value(module, inputs, outputs):
    """Hook: reads a value that depends on the frame."""
    return None if outputs[0].mean().item() else outputs


FAILURES = {
    'depend on the frame': value,
    'of its own': capturing(lambda: 1 / 0),
    # Seen by CUDA alone, which ends the capture.
    'capture': lambda module, inputs, outputs: capturing(outputs[0].nonzero)(),
}


@pytest.mark.parametrize('message', FAILURES)
def test_runs_eagerly_where_a_capture_fails(message, gpu, log):
    model = detector()
    failing, stream = on_gpu(model), torch.cuda.current_stream()
    failing.spatial.detector.neck.register_forward_hook(FAILURES[message])
    assert_same(detect(failing, data=frames(count=13)), detect(model, data=frames(count=13)))
    assert log.text.count('runs without CUDA graph') == 1
    gc.collect()
    assert len(gpu.graphs) == 1, 'non-key frames'
    gpu.reset()
    assert_same(detect(on_gpu(model)), detect(model))
    assert gpu.captures == 2 and torch.cuda.current_stream() is stream


def test_runs_eagerly_without_memory_for_a_graph(gpu, log):
    model = detector()
    gpu.capture_limit = 1000
    own = on_gpu(model)
    assert_same(detect(own), detect(model))
    assert not gpu.captures and gpu.failed_captures
    assert log.text.count('runs without CUDA graph') == 1 and 'out of memory' in log.text


def test_a_graph_with_other_results_is_not_used(gpu, monkeypatch, log):
    monkeypatch.setattr(
        torch.cuda, 'CUDAGraph', type('Idle', (Graph,), dict(replay=lambda _: None))
    )
    model = detector()
    assert_same(detect(on_gpu(model)), detect(model))
    assert log.text.count('runs without CUDA graph') == 1 and 'not close' in log.text


def test_threads_capture_at_once_while_others_wait(gpu):
    model = detector('rfcn')
    expected, both = detect(model), threading.Barrier(2, timeout=5)

    def meet():
        with suppress(threading.BrokenBarrierError):  # captures may take turns
            both.wait()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(torch.zeros(1, device='cuda').item)

    def run(_):
        own = on_gpu(model)
        own.spatial.detector.neck.register_forward_hook(capturing(meet))
        return detect(own)

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(run, range(2)):
            assert_same(found, expected)
    assert gpu.captures == 4 and not gpu.failed_captures


def test_the_graphs_of_eight_sizes_are_kept(gpu):
    held = []
    engine = VideoEngine(on_gpu(detector()), 'frame')
    for width in range(SIZE[0], SIZE[0] - 11, -1):
        for data in frames(count=2):
            engine.push(cropped(data, width))
        held.append(len(gpu.graphs))
    assert gpu.captures == 11 and held == [*range(1, 9), 8, 8, 8]
    allocated = gpu.allocated
    del engine
    gc.collect()
    assert not gpu.graphs and gpu.allocated < allocated / 4


def test_copies_have_graphs_of_their_own(gpu):
    fast = on_gpu(detector('rfcn'))
    expected = detect(fast)
    assert_same(detect(copy.deepcopy(fast)), expected)
    assert gpu.captures == 4
    assert detect(fast.with_temporal(None), 'frame') and gpu.captures == 5


def test_excludes_compilation():
    with pytest.raises(ValueError, match='compile and graphs exclude each other'):
        accelerate(detector(), Acceleration(graphs=True, compile=True))
    assert accelerate(detector(), Acceleration()).graphs is None, 'on a CPU'
