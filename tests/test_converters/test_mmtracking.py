"""mmtracking's layers by name, and its flow and warp restated from their description."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import semidff  # noqa: F401  (registers the parts)
from semidff.converters.mmtracking import convert, convert_file, layers
from semidff.models.temporal import MMTrackingFlowNet, MMTrackingTemporalModule, warp
from semidff.models.temporal.mmtracking import MEAN, STD, as_mmtracking_reads
from semidff.utils.checkpoint import CheckpointError, read_checkpoint

CONFIG = Path(__file__).resolve().parents[2] / 'configs/_base_/models/dff_faster-rcnn_r50-dc5.py'
# channels of the encoder, and of the decoder's inputs and outputs, coarse to fine
ENCODER = [(6, 64, 7), (64, 128, 5), (128, 256, 5), (256, 512, 3), (512, 512, 3), (512, 1024, 3)]
DECODER = [(1024, 512), (1026, 256), (770, 128), (386, 64)]


def blank(*shape) -> torch.Tensor:
    """Zeros that take no memory, in files neither."""
    return torch.zeros(()).expand(*shape)


def motion() -> dict[str, torch.Tensor]:
    """mmtracking's FlowNetSimple, written down layer by layer."""
    state = {}
    for stage, (channels, out, kernel) in enumerate(ENCODER, 1):
        shapes = [(out, channels, kernel, kernel)] + [(out, out, 3, 3)] * (stage > 2)
        for i, shape in enumerate(shapes):
            state[f'conv{stage}.{i}.conv.weight'] = blank(shape)
            state[f'conv{stage}.{i}.conv.bias'] = blank(out)
    for level, (channels, out) in zip((5, 4, 3, 2), DECODER, strict=True):
        state[f'deconv{level}.conv.weight'] = blank(channels, out, 4, 4)
        state[f'predict_flow{level + 1}.conv.weight'] = blank(2, channels, 3, 3)
        state[f'upsample_flow{level}.conv.weight'] = blank(2, 2, 4, 4)
    return state | {'predict_flow.conv.weight': blank(2, 194, 3, 3)}


def test_every_layer_has_one_place():
    with torch.device('meta'):
        state, flow = motion(), MMTrackingFlowNet().state_dict()
    assert {f'temporal.flow_network.{key}' for key in flow} == convert(state).keys()
    shapes = {k.removeprefix('temporal.flow_network.'): v.shape for k, v in convert(state).items()}
    assert {key: value.shape for key, value in flow.items()} == shapes


def test_a_video_detector_of_the_config_takes_all():
    init_default_scope('mmdet')
    with torch.device('meta'):
        model, state = MODELS.build(Config.fromfile(CONFIG).model), motion()
    own = model.state_dict()
    whole = {f'motion.{key}': value for key, value in state.items()}
    whole |= {k.removeprefix('spatial.'): v for k, v in own.items() if k.startswith('spatial.')}
    converted = convert(whole)
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in own.items()}
    assert 'spatial.detector.neck.convs.0.conv.weight' in converted


def test_what_does_not_fit_is_named(tmp_path):
    with torch.device('meta'):
        state = motion()
    del state['conv3.1.conv.bias']
    state |= {'fc.weight': state['conv1.0.conv.bias'], 'conv2.0.conv.bias': torch.zeros(3)}
    with pytest.raises(ValueError, match='1 missing: conv3.1.conv.bias; 1 unknown: fc.weight; 1'):
        convert(state)
    torch.save({'x': torch.ones(1)}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match="other.pth: not mmtracking's DFF"):
        convert_file(tmp_path / 'other.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_a_file_keeps_its_classes(tmp_path):
    state = {f'motion.{key}': value.contiguous() for key, value in motion().items()}
    theirs = state['motion.conv1.0.conv.weight'] = torch.rand(64, 6, 7, 7)
    torch.save(dict(meta=dict(CLASSES=['a', 'b']), state_dict=state), tmp_path / 'in.pth')
    convert_file(tmp_path / 'in.pth', tmp_path / 'out.pth')
    weights, meta = read_checkpoint(tmp_path / 'out.pth')
    assert meta['dataset_meta'] == dict(classes=('a', 'b'))
    assert torch.equal(weights['temporal.flow_network.conv1.weight'], theirs)


@torch.no_grad()
def test_flow_and_warp_are_theirs():
    torch.manual_seed(0)
    module = MMTrackingTemporalModule(
        dict(type='MMTrackingFlowNet', width=1 / 8), feat_channels=8, init_std=None
    ).eval()
    network = module.flow_network
    frames = torch.rand(2, 3, 64, 96)  # current, key; from 0 to 1
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    current, key = ((255 * frames - mean) / std).split(1)
    features = torch.randn(1, 8, 4, 6)
    (propagated,) = module(module.prepare(key), module.prepare(current), (features,))

    inputs = (frames - torch.tensor([0.411, 0.432, 0.450]).view(3, 1, 1)).view(1, 6, 64, 96)
    flow = their_flow(network, F.interpolate(inputs, scale_factor=0.5, mode='bilinear'))
    assert 0.1 < (flow / 16).abs().max() < 20, 'a motion that is neither none nor out of the map'
    torch.testing.assert_close(propagated, their_warp(features, flow), rtol=1e-4, atol=1e-4)
    exact = warp(features, network(module.prepare(current), module.prepare(key)).flow)
    assert (propagated - exact).abs().max() > 0.05, 'the two warps differ'


def their_flow(network: MMTrackingFlowNet, x: torch.Tensor) -> torch.Tensor:
    """Flow at the size of the image, in pixels."""
    outputs = {}
    for _, name in layers():
        if name.startswith('conv'):
            x = outputs[name] = F.leaky_relu(getattr(network, name)(x), 0.1)
    for level, skip in enumerate(('conv5_1', 'conv4_1', 'conv3_1', 'conv2')):
        flow = getattr(network, f'upflow{level}')(getattr(network, f'predict{level}')(x))
        up = F.leaky_relu(getattr(network, f'deconv{level}')(x), 0.1)
        height, width = outputs[skip].shape[-2:]
        x = torch.cat((outputs[skip], up[..., :height, :width], flow[..., :height, :width]), 1)
    flow = F.interpolate(network.predict_flow(x), scale_factor=8, mode='bilinear')
    return flow * 8 * 5


def their_warp(features: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Features (N, C, h, w) at positions normalized by the map's size, sampled between its corners."""
    height, width = features.shape[-2:]
    flow = F.interpolate(flow, scale_factor=1 / 16, mode='bilinear') / 16
    x = torch.arange(width) + flow[:, 0]
    y = torch.arange(height)[:, None] + flow[:, 1]
    grid = torch.stack((x / width * 2 - 1, y / height * 2 - 1), dim=-1)
    return F.grid_sample(features, grid, padding_mode='border', align_corners=True)


def test_without_motion_what_is_read_lies_up_to_one_cell_off():
    read = as_mmtracking_reads(torch.zeros(1, 2, 4, 8))
    torch.testing.assert_close(read[0, 0, 0], -torch.arange(8) / 8)
    torch.testing.assert_close(read[0, 1, :, 0], -torch.arange(4) / 4)


def test_one_level_only():
    with pytest.raises(ValueError, match=r'one level of stride 16, got feat_strides=\(8, 16\)'):
        MMTrackingTemporalModule(
            dict(type='MMTrackingFlowNet', width=1 / 8), feat_channels=8, feat_strides=(8, 16)
        )
