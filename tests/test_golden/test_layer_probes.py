"""All inner tensors that the goldens have probed, by name (semidff.converters.mxnet.names)."""

import numpy as np
import pytest
import torch

from tests.test_golden.inner_tensors import (
    flow_tensors,
    task_tensors,
    warp_tensors,
    watched_backbone,
)
from tests.test_golden.original import arrays, pair, probes, read_json, sample

TOLERANCE = 3e-5


@pytest.fixture
def check():
    """Compares a tensor with its probe: shape, mean, deviation and 16 values."""
    golden = read_json('net_golden_layer_probes.json')
    seen = {}

    def compare(name: str, tensor: torch.Tensor) -> None:
        expected, array = golden[name], tensor.detach().double().numpy()
        assert list(array.shape) == expected['shape'], name
        size = np.hypot(expected['mean'], expected['std'])
        ours = [array.mean(), array.std(), *probes(array)]
        theirs = [expected['mean'], expected['std'], *expected['values']]
        assert name not in seen
        seen[name] = np.abs(np.subtract(ours, theirs)).max() / size
        assert seen[name] <= TOLERANCE, (name, seen[name])

    compare.seen = seen
    compare.names = lambda frame: {name for name in golden if name.startswith(f'{frame}:')}
    return compare


@torch.no_grad()
def test_key_frame(model, check):
    with watched_backbone(model, lambda name, tensor: check(f'key:{name}', tensor)):
        features = model.spatial.features(pair()[0][None])
    rois = torch.from_numpy(arrays('net_golden.npz')['key_rois'])
    for name, tensor in task_tensors(model, features, sample(), rois).items():
        check(f'key:{name}', tensor)
    assert check.seen.keys() == check.names('key')


@torch.no_grad()
def test_current_frame(model, check):
    golden = arrays('net_golden.npz')
    features = (torch.from_numpy(golden['key_conv_feat']),)
    tensors = flow_tensors(model, *(frame[None] for frame in pair()))
    tensors |= warp_tensors(model, features, tensors['_mulscalar0'], tensors['Convolution5_scale'])
    rois = torch.from_numpy(golden['cur_rois'])
    tensors |= task_tensors(model, (tensors['_mul0'],), sample(), rois)
    for name, tensor in tensors.items():
        check(f'cur:{name}', tensor)
    assert check.seen.keys() == check.names('cur')


def test_there_are_437():
    assert len(read_json('net_golden_layer_probes.json')) == 437
