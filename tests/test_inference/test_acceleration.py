"""Speed options: the same detections within the precision, on every kind of detector and method."""

import copy
import shutil

import pytest
import torch

from semidff.inference import Acceleration, accelerate
from tests.tiny import models
from tests.tiny.splits import cut
from tests.tiny.stages import live, stages
from tests.tiny.videos import batch

BF16 = Acceleration('bf16')


def detector(kind: str) -> torch.nn.Module:
    return models.tiny_video_detector(kind).eval()


def detect(model, method='propagate', frames=7) -> list:
    found = live(stages(model, method, key_interval=3), [batch(0, i) for i in range(frames)])
    return [result.pred_instances for result in found]


@pytest.mark.parametrize('kind', models.KINDS)
def test_half_precision_is_that_of_autocast(kind):
    """Converting weights once gives the same result as autocast, which converts them for each
    frame."""
    frames, samples = models.frames(2), models.samples(1)
    once, plain = accelerate(detector(kind), BF16), detector(kind)
    with torch.no_grad():
        results, key = once.predict_key(frames[:1], copy.deepcopy(samples))
        flow = once.flow_field(frames[1:], key)
        with torch.autocast('cpu', torch.bfloat16):
            expected, plain_key = plain.predict_key(frames[:1], copy.deepcopy(samples))
            plain_flow = plain.flow_field(frames[1:], plain_key)
    assert key.features[0].dtype == torch.bfloat16 and flow.flow.dtype == torch.float32
    assert torch.equal(key.features[0], plain_key.features[0])
    assert torch.equal(flow.flow, plain_flow.flow) and torch.equal(flow.scale, plain_flow.scale)
    assert torch.equal(results[0].pred_instances.bboxes, expected[0].pred_instances.bboxes)
    assert not torch.is_autocast_enabled('cpu')


def test_shares_modules_and_attributes_and_can_be_copied():
    model = detector('rfcn')
    model.dataset_meta = dict(classes=('a', 'b'))
    fast = accelerate(model, BF16)
    assert fast.autocast is torch.bfloat16 and fast.spatial is model.spatial
    assert fast.dataset_meta == model.dataset_meta
    assert detect(copy.deepcopy(fast))[2].scores.equal(detect(fast)[2].scores)
    assert list(fast.state_dict()) == list(model.state_dict())


def test_compiled_graphs_give_the_same():
    """Traced, not compiled: that takes minutes."""
    compiled = []

    def backend(graph, example):
        compiled.append(graph)
        return graph.forward

    fast = accelerate(detector('rfcn'), Acceleration(compile=True), backend=backend)
    found = detect(fast, frames=4)
    assert models.unmatched(detect(detector('rfcn'), frames=4), found, 1e-4) == 0
    assert len(compiled) >= 4, 'feature network, head, flow network, scale field'
    graphs = len(compiled)
    detect(fast, frames=4)
    assert len(compiled) == graphs, 'nothing is compiled twice'


def convolutions(model) -> int:
    """Return how many convolutions the graphs of a video detector have."""
    graphs = []

    def backend(graph, example):
        graphs.append(graph)
        return graph.forward

    fast = accelerate(model.eval(), Acceleration(compile=True), backend=backend)
    with fast.running():
        fast.spatial.raw_outputs(fast.spatial.features(torch.zeros(1, 3, 64, 96)))
    return sum('conv2d' in str(node.target) for graph in graphs for node in graph.graph.nodes)


@pytest.mark.parametrize('name', ['12', '5'])
def test_a_cut_backbone_is_compiled(name):
    # All but the first convolution: PyTorch compiles none of its own modules alone.
    assert convolutions(cut(name)) == convolutions(cut('1')) - 1


def test_towers_of_a_cut_head_are_compiled():
    split = dict(split=dict(type='TowerSplit'), temporal=models.temporal(32, (8, 16, 32)))
    cut_head = models.tiny_video_detector('retinanet', **split)
    assert convolutions(cut_head) >= 20 + 6 + 2, 'backbone, neck and both towers'


@pytest.mark.skipif(shutil.which('g++') is None, reason='torch.compile needs a C++ compiler')
def test_inductor_compiles_the_scale_field():
    """The real compiler, weights frozen, on the smallest graph."""
    model = detector('rfcn')
    fast = accelerate(copy.deepcopy(model), BF16)
    fast.temporal.scale.compile(options={'freezing': True}, isolate_recompiles=True)
    hidden = torch.randn(1, model.temporal.scale.in_channels, 4, 6)
    with torch.no_grad(), fast.running():
        found = fast.temporal.scale(hidden)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), model.temporal.scale(hidden), atol=0.05)
