"""The simulated GPU does what a GPU does."""

import gc

import pytest
import torch
from torchvision import ops

from tests.simulated_gpu import CUDA

WAITS = {
    'item': lambda x: x.sum().item(),
    'bool': lambda x: bool(x.all()),
    'nonzero': lambda x: x.nonzero(),
    'where': lambda x: torch.where(x > 2),
    'mask': lambda x: x[x > 2],
    'set by mask': lambda x: x.clone().__setitem__(x > 2, x[3:]),
    'masked_select': lambda x: x.masked_select(x > 2),
    'unique': lambda x: x.unique(),
    'repeat_interleave': lambda x: x.repeat_interleave(x.long()),
    'new_tensor': lambda x: x.new_tensor([1.0]),
    'tensor': lambda x: torch.tensor([1.0], device='cuda'),
    'list': lambda x: x[[2, 1, 0]],
    'host index': lambda x: x[torch.tensor([1])],
    'cpu': lambda x: x.cpu(),
    'tolist': lambda x: x.tolist(),
    'pageable': lambda x: torch.zeros(2).to(CUDA, non_blocking=True),
    'nms': lambda x: ops.nms(x[None, :4], x[:1], 0.5),
    'ps_roi_align': lambda x: ops.ps_roi_align(x[:4].view(1, 4, 1, 1), x[None, :5], 2),
}


@pytest.mark.parametrize('wait', WAITS)
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_waits_are_counted_and_end_a_capture(wait, mode, gpu):
    x, graph, stream = torch.arange(6.0, device='cuda'), torch.cuda.CUDAGraph(), torch.cuda.Stream()
    gpu.reset()
    with mode():
        WAITS[wait](x)
    assert gpu.waits
    error = pytest.raises(RuntimeError, match='due to a previous error')
    with error, mode(), torch.cuda.graph(graph, stream=stream):
        WAITS[wait](x)
    assert gpu.failed_captures == 1 and torch.cuda.current_stream() is stream


def test_others_do_not_wait(gpu):
    x, pinned = torch.arange(6.0, device='cuda'), torch.zeros(6).pin_memory()
    maps, rois = x.view(1, 6, 1, 1)[:, :4].requires_grad_(), torch.zeros(1, 5, device='cuda')
    gpu.reset()
    x[x.long()]
    x[1:3] * 2
    torch.where(x > 2, x, 0)
    x.topk(3)
    x.clone()[x > 2] = 0
    x.to(x)
    ops.ps_roi_pool(maps, rois, 2)
    x.copy_(pinned, non_blocking=True)
    assert not gpu.waits and gpu.kernels == 12
    with pytest.raises(RuntimeError, match='not on the same device'):
        x + torch.zeros(6)


def test_a_copy_to_the_host_needs_a_wait(gpu):
    x, host = torch.ones(2, device='cuda'), torch.zeros(2, pin_memory=True)
    host.copy_(x, non_blocking=True)
    x += 1
    assert host.isnan().all()
    torch.cuda.current_stream().record_event().synchronize()
    assert host.tolist() == [1, 1] and gpu.waits.total() == 1


def test_a_graph_computes_when_it_is_replayed(gpu):
    x, kept = torch.ones(2, device='cuda'), torch.zeros(2, device='cuda')
    constant, graph = torch.full((2,), 3.0, device='cuda'), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = (x + constant).mul_(2)
        kept += y
    assert y.cpu().isnan().all() and kept.tolist() == [0, 0] and gpu.captures == 1
    graph.replay()
    x.fill_(5)
    assert y.tolist() == [8, 8] and kept.tolist() == [8, 8]
    graph.replay()
    assert y.tolist() == [16, 16] and kept.tolist() == [24, 24] and gpu.replays == 2
    del constant
    graph.replay()
    assert y.cpu().isnan().all(), 'its memory is free'
    gc.collect()
    before = gpu.allocated
    del graph, y
    gc.collect()
    assert gpu.allocated == before - 8
