"""CUDA graphs on the simulated GPU: the results of eager frames on the CPU, what is captured, and
what is not.
"""

import copy
import gc
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch

from semidff.datasets.video_readers import Frame
from semidff.inference import Acceleration, accelerate
from semidff.models import VideoDetector
from semidff.models.temporal.warp import warp
from tests.detectors.graph_path import on_gpu
from tests.simulated_gpu import Graph
from tests.tiny import models
from tests.tiny.stages import frame_of, live, stages
from tests.tiny.videos import SIZE, batch


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


def detect(model, method='propagate', data=None) -> list:
    return live(stages(model, method, key_interval=4), data or frames())


def assert_same(found, expected):
    """Batches differ in rounding. In a frame, proposals have equal scores at their limit: either
    may be left out.
    """
    assert {r.pred_instances.bboxes.device.type for r in found} == {'cpu'}
    found, expected = ([r.pred_instances for r in results] for results in (found, expected))
    assert min(map(len, expected)) > 2
    few = 0.04 * sum(map(len, expected))
    for some, others in ((found, expected), (expected, found)):
        assert models.unmatched(some, others, 1e-5) <= few


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

        def pinned() -> Iterator[Frame]:
            for index in range(10):
                frame = frame_of(batch(0, index))
                frame.inputs = frame.inputs.pin_memory()
                gpu.reset()
                yield frame

        for index, _ in enumerate(stages(model, key_interval=4).run(pinned(), chunk=1)):
            if index >= 8 and graphs:
                assert gpu.replays == 1 and gpu.kernels <= 5
                assert gpu.waits == Counter(synchronize=1)
            assert graphs or (gpu.kernels > 100 and gpu.waits.total() > 5)


@pytest.mark.parametrize('first', [True, False])
def test_inference_mode_may_begin_or_end(first, gpu):
    model = detector()
    run, found = stages(on_gpu(model), key_interval=4), []
    run = run.run(map(frame_of, frames(count=13)), chunk=1)
    for index in range(13):
        with torch.inference_mode(first == (index < 6)):
            found.append(next(run).sample)
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
    failing.model.spatial.detector.neck.register_forward_hook(FAILURES[message])
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
        own.model.spatial.detector.neck.register_forward_hook(capturing(meet))
        return detect(own)

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(run, range(2)):
            assert_same(found, expected)
    assert gpu.captures == 4 and not gpu.failed_captures


def test_the_graphs_of_eight_sizes_are_kept(gpu):
    held = []
    engine = stages(on_gpu(detector()), 'frame')
    for width in range(SIZE[0], SIZE[0] - 11, -1):
        live(engine, [cropped(data, width) for data in frames(count=2)])
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
    assert isinstance(accelerate(detector(), Acceleration()), VideoDetector), 'on a CPU'
