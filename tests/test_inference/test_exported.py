"""Exported graphs in the runtimes: results are those of PyTorch, however videos are driven."""

import copy
import functools
import os
import subprocess
import sys
import threading
from itertools import product
from threading import Event

import pytest
import torch
from mmengine.config import Config

from semidff.inference import Acceleration, FixedSchedule, accelerate
from semidff.inference.executors import ExportedGraphs, as_executor
from semidff.inference.executors import exported as exported_graphs
from semidff.inference.executors.exported import digest_of
from tests.test_inference.test_contract import (
    FILE,
    SETTINGS,
    WAYS,
    WORKERS,
    assert_equal,
    detector,
    reference,
    video,
)
from tests.tiny.models import assert_same, temporal, tiny_video_detector
from tests.tiny.stages import results, stages

for _package in ('onnxscript', 'onnxruntime', 'openvino'):
    pytest.importorskip(_package, reason='needs the extras onnx and openvino')
RUNTIMES = 'openvino', 'onnxruntime'


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """A folder of graphs that all processes of the tests share."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base) / 'graphs'


@functools.cache
def exported(runtime: str, kind: str, cache) -> ExportedGraphs:
    return accelerate(copy.deepcopy(detector(kind)), Acceleration(runtime=runtime), cache=cache)


def cases():
    yield from product(RUNTIMES, ['retinanet'], ['propagate'], WAYS, ['cuts'])
    yield from product(['openvino'], ['retinanet'], ['propagate'], [WORKERS], ['fields'])
    others = 'frame', 'centered', 'small', 'focus', 'sff-fast'
    yield from product(RUNTIMES, ['retinanet'], others, [WORKERS], ['cuts'])
    yield from product(RUNTIMES, ['rfcn', 'faster_rcnn', 'yolox'], ['propagate'], [FILE], ['light'])


@pytest.mark.parametrize(('runtime', 'kind', 'method', 'way', 'setting'), cases())
def test_results_are_those_of_pytorch(runtime, kind, method, way, setting, cache):
    """Of one video: other sizes of frames are other graphs; *small* has two, *focus* four."""
    executor = exported(runtime, kind, cache)
    (found,) = WAYS[way](stages(executor, method, **SETTINGS[setting]), [video(0)])
    assert executor.runs_in == runtime
    expected = reference(kind, method, setting)[0]
    # A link that changes where boxes differ by 1e-4 pixels changes what the filter learns.
    assert_equal(found, expected, *((1e-2, 0.15) if setting == 'light' else (1e-4, 0.02)))


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_a_correction_as_adapt_makes_it(runtime):
    limits = dict(shared_classes=True, gated=True, scale_bound=0.4)
    settings = temporal(16, (8, 16, 32), correction_width=8, current_width=8, **limits)
    model = tiny_video_detector(
        'retinanet', split=dict(type='OutputSplit'), temporal=settings
    ).eval()
    executor = accelerate(copy.deepcopy(model), Acceleration(runtime=runtime))
    frames = video(0)[:4]
    found, expected = (results(stages(one, key_interval=4), frames) for one in (executor, model))
    assert_same(found, expected, atol=1e-3)
    assert executor.runs_in == runtime
    still = [frames[0]] * 3
    key, *others = results(stages(executor, key_interval=4), still)
    assert_same(others, [key, key], atol=1e-3)


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_frames_that_are_padded(runtime):
    """By more than the frames are downsampled for the flow network, which OpenVINO joins with their
    scale."""
    frames = video(0)[:3]
    for data in frames:
        data['inputs'] = [data['inputs'][0][:, :44, :72]]
        data['data_samples'][0].set_metainfo(dict(ori_shape=(44, 72), img_shape=(44, 72)))
    model = copy.deepcopy(detector('retinanet'))
    model.temporal.flow_network.input_scale = 0.7
    executor = accelerate(copy.deepcopy(model), Acceleration(runtime=runtime))
    found, expected = (results(stages(one, key_interval=3), frames) for one in (executor, model))
    assert_same(found, expected, atol=1e-3)
    assert executor.runs_in == runtime
    inputs, samples = torch.stack(frames[0]['inputs']), frames[0]['data_samples']
    images = [one.predict_key(inputs, samples)[1].image for one in (executor, as_executor(model))]
    torch.testing.assert_close(*images, rtol=0.0, atol=1e-4)


def test_networks_are_not_run_in_pytorch(cache):
    executor = exported('openvino', 'retinanet', cache)
    own = ExportedGraphs(copy.deepcopy(executor.model), runtime='openvino', cache=cache)
    expected = results(stages(own, key_interval=2), video(0)[:3])
    for module in (*own.model.spatial.feature_network, own.model.temporal):
        module.forward = None
    found = results(stages(own, key_interval=2), video(0)[:3])
    assert_same(found, expected)


def test_damaged_graphs_are_made_again(tmp_path, log):
    options = Acceleration(runtime='onnxruntime')

    def run() -> list:
        executor = accelerate(copy.deepcopy(detector('retinanet')), options, cache=tmp_path)
        return results(stages(executor, 'copy', key_interval=2), video(0)[:3])

    expected = run()
    (graph,) = tmp_path.glob('*.onnx')
    whole = graph.read_bytes()
    for damaged, content in ((graph, whole[:1000]), (graph.with_suffix('.json'), b'{"cls')):
        damaged.write_bytes(content)
        log.clear()
        assert_same(run(), expected)
        (text,) = [one.getMessage() for one in log.records if one.levelname == 'WARNING']
        assert text.startswith(f'{graph}: cannot be used, is made again')
        assert graph.stat().st_size == len(whole)


def test_what_cannot_be_exported_runs_in_pytorch(log, monkeypatch):
    model = copy.deepcopy(detector('retinanet'))
    monkeypatch.setattr(torch.onnx, 'export', raises)
    executor = accelerate(model, Acceleration(runtime='onnxruntime'))
    found = results(stages(executor, key_interval=4), video(0)[:6])
    assert_same(found, reference('retinanet', 'propagate', 'cuts')[0][:6], atol=1e-4)
    said = [record.getMessage() for record in log.records if 'runs in PyTorch' in record.msg]
    assert [text.split()[0] for text in said] == ['KeyGraph', 'NonKeyGraph']
    assert 'not in onnxruntime: no such operator' in said[0]
    assert executor.runs_in == 'torch'


def test_graphs_are_prepared_ahead_of_the_workers(monkeypatch):
    """Once for each size of frames; other threads run meanwhile."""
    threads = []

    def export(*arguments, **options):
        threads.append(threading.current_thread())
        raise RuntimeError('no export')

    monkeypatch.setattr(exported_graphs.RUNTIMES['onnxruntime'], 'export', export)
    run = stages(
        accelerate(copy.deepcopy(detector('retinanet')), Acceleration(runtime='onnxruntime')),
        schedule=FixedSchedule(4),
    )
    for workers in (2, 1):
        results(run, video(1), workers)
    assert len(threads) == 4, 'key frames and non-key frames of two sizes'


def test_frames_do_not_wait(monkeypatch):
    """They run in PyTorch until another thread has made the graphs."""
    trace, may_trace, model = exported_graphs.RUNTIMES['openvino'].export, Event(), detector('rfcn')

    def export(*arguments):
        may_trace.wait()
        return trace(*arguments)

    monkeypatch.setattr(exported_graphs.RUNTIMES['openvino'], 'export', export)
    before = set(threading.enumerate())
    executor = accelerate(copy.deepcopy(model), Acceleration(runtime='openvino'), waits=False)
    run, frames = stages(executor, schedule=FixedSchedule(4)), video(0)
    expected = results(stages(model, schedule=FixedSchedule(4)), frames)
    assert_equal(results(run, frames), expected, 0, 0)
    may_trace.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    model = executor.model
    for part in ('key_frame', 'predict_non_key'):
        monkeypatch.setattr(type(model), part, raises)  # PyTorch has no part in it
    assert_equal(results(run, frames), expected, 1e-4, 0.02)
    assert set(threading.enumerate()) == before


FORKED = """
import os, sys
import torch
from semidff.inference import Acceleration, accelerate
from tests.test_inference.test_contract import assert_equal, detector, video
from tests.tiny.stages import results, stages

torch.set_num_threads(1)  # PyTorch's own threads do not survive a fork
run = stages(accelerate(detector('rfcn'), Acceleration(runtime='openvino')), key_interval=4)
expected = results(run, video(0))
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
assert_equal(results(run, video(0)), expected, 1e-4, 0.02)
"""


def test_forked_processes_compute_in_pytorch():
    """They waited for ever: the threads of a runtime do not survive a fork."""
    command = [sys.executable, '-c', FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# What a graph depends on, and what it does not.
CHANGES = dict(
    weights=lambda model: next(model.parameters()).data.mul_(1.01),
    statistics=lambda model: next(model.buffers()).data.add_(1),
    mean=lambda model: model.data_preprocessor.mean.add_(1),
    std=lambda model: model.data_preprocessor.std.mul_(2),
    input_scale=lambda model: setattr(model.temporal.flow_network, 'input_scale', 0.7),
    config=lambda model: setattr(model, 'cfg', Config(dict(model=dict(test_cfg=dict(nms_pre=7))))),
    module=lambda model: setattr(model.spatial.detector, 'neck', torch.nn.ReLU()),
)
SAME = dict(
    copy=lambda model: None,
    mode=lambda model: model.eval(),
    classes=lambda model: setattr(model, 'dataset_meta', dict(classes=('a', 'b'))),
    data=lambda model: setattr(model, 'cfg', Config(dict(test_dataloader=dict(batch_size=2)))),
    use=lambda model: results(stages(model, key_interval=2), video(0)[:2]),
)


@torch.no_grad()
def test_whatever_changes_is_exported_again(monkeypatch):
    own = digest_of(detector('retinanet'))
    for name, change in (CHANGES | SAME).items():
        model = copy.deepcopy(detector('retinanet'))
        change(model)
        assert (digest_of(model) == own) == (name in SAME), name
    assert digest_of(detector('retinanet'), 'another size') != own
    for package in (exported_graphs, exported_graphs.mmdet, exported_graphs.mmcv):
        with monkeypatch.context() as patched:
            patched.setattr(package, '__version__', '0')
            assert digest_of(detector('retinanet')) != own, package


HANDLED = """
import faulthandler, gc, signal, sys, threading
from semidff.inference.executors.runtimes import OpenVino
faulthandler.enable()  # gives handlers a stack of their own

def in_thread(function):
    other = threading.Thread(target=function)
    other.start()
    other.join()

graphs = []
if sys.argv[2] == 'later':
    in_thread(lambda: graphs.append(OpenVino(sys.argv[1], 1, 1)))
graphs.append(OpenVino(sys.argv[1], 1, 1))
graphs.append(OpenVino(sys.argv[1], 1, 1))
graphs.pop(0)
in_thread(lambda: (graphs.clear(), gc.collect()))
signal.signal(signal.SIGTERM, lambda *_: print('handled'))
signal.raise_signal(signal.SIGTERM)
"""


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp('graph') / 'graph.onnx'
    torch.onnx.export(torch.nn.ReLU().eval(), (torch.ones(1, 3),), path, dynamo=True)
    return str(path)


@pytest.mark.parametrize('loaded', ['now', 'later'])
def test_signals_are_handled_after_openvino(graph, loaded):
    """Its plugin, unloaded, frees the stack of signal handlers: Ctrl-C was a segmentation fault."""
    command = [sys.executable, '-c', HANDLED, graph, loaded]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == 'handled\n', done.stderr


REPORTS_NOTHING = """
import sys
sys.addaudithook(lambda event, _: event == 'socket.getaddrinfo' and print('looks up a host'))
from semidff.inference.executors.runtimes import RUNTIMES
for runtime in RUNTIMES.values():
    runtime.check()
    runtime(sys.argv[1], 1, 1)
"""


def test_runtimes_report_nothing_to_their_makers(graph, tmp_path):
    left_out = 'CI', 'ORT_DISABLE_TELEMETRY', 'XDG_CACHE_HOME'
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment['HOME'] = str(tmp_path)
    command = [sys.executable, '-c', REPORTS_NOTHING, graph]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ''), done.stderr
    assert list(tmp_path.rglob('*')) == []


def raises(*arguments, **options):
    raise RuntimeError('no such operator')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(runtime='tensorrt'), "'tensorrt': choose one of torch, onnxruntime, openvino"),
        (dict(runtime='openvino', compile=True), 'options of torch'),
        (dict(runtime='onnxruntime', precision='bf16'), 'in fp32, not in bf16'),
    ],
)
def test_options_that_exclude_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        accelerate(copy.deepcopy(detector('retinanet')), Acceleration(**options))
