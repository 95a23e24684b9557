"""Flow pre-training: losses, predictions, and a training that lowers the error."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

from semidff.checkpoints.strict import load_strict
from semidff.models import FlowPretrainer
from semidff.synthetic.chairs import make_chairs, true_flow
from semidff.synthetic.render import render
from tests.tiny.models import SIZE

FLOW_NETWORK = dict(type='FlowNetS', width=1 / 16, input_scale=1.0)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def pretrainer(**kwargs) -> FlowPretrainer:
    torch.manual_seed(0)
    temporal = dict(
        type='TemporalModule', flow_network=FLOW_NETWORK, feat_channels=4, init_std=None
    )
    return MODELS.build(dict(type='FlowPretrainer', temporal=temporal, **kwargs))


def samples(flow: torch.Tensor, size=None) -> list[DetDataSample]:
    """Data samples of true flow (N, 2, H, W)."""
    found = []
    for one in flow:
        data = DetDataSample(metainfo=dict(img_shape=tuple(size or one.shape[-2:])))
        data.gt_flow = PixelData(data=one)
        found.append(data)
    return found


def test_losses_by_hand():
    """Every prediction against the true flow's mean over its cells, in pixels of the image."""
    model = pretrainer(coarse_weights=(1, 2, 3, 4))
    inputs, flow = torch.randn(2, 2, 3, 64, 128), 9 * torch.randn(2, 2, 64, 128)
    losses = model(inputs, samples(flow), mode='loss')
    key, current = inputs[:, 0], inputs[:, 1]
    with torch.no_grad():
        output = model.temporal.flow_network(F.avg_pool2d(current, 2), F.avg_pool2d(key, 2))

    def error(predicted, stride):
        return (predicted - F.avg_pool2d(flow, stride)).norm(dim=1).mean()

    expected = {'loss_flow': error(output.flow * 16, 16)}
    for i, (coarse, stride) in enumerate(zip(output.coarse_flows, (128, 64, 32, 16), strict=True)):
        # half-size strides 64 .. 8; one unit is 20 pixels there
        target = F.adaptive_avg_pool2d(flow, coarse.shape[-2:])
        assert coarse.shape[-2:] == (-(-64 // stride), 128 // stride)
        expected[f'loss_flow{i}'] = (i + 1) * (coarse * 20 * 2 - target).norm(dim=1).mean()
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name].detach(), value, rtol=1e-4, atol=1e-5)


def test_default_weights_are_flownets():
    """0.32 ... 0.005 on sums over maps of 1, 4, ... 256 cells, as means against the finest."""
    sums = [weight * 4**i for i, weight in enumerate((0.32, 0.08, 0.02, 0.01, 0.005))]
    assert pretrainer().coarse_weights == pytest.approx([value / sums[-1] for value in sums[:-1]])


@pytest.mark.parametrize('size', [(64, 96), (70, 111)])
def test_prediction_is_the_flow_in_pixels_at_full_size(size):
    model = pretrainer().eval()
    inputs = torch.randn(2, 2, 3, *size)
    with torch.no_grad():
        coarse = model(inputs)
        found = model(inputs, samples(torch.zeros(2, 2, *size)), mode='predict')
        cut = model(inputs, samples(torch.zeros(2, 2, 50, 60), (50, 60)), mode='predict')
    assert all(sample.pred_flow.data.shape == (2, 50, 60) for sample in cut)
    assert coarse.shape == (2, 2, -(-size[0] // 16), -(-size[1] // 16))
    for flow, sample in zip(coarse, found, strict=True):
        full = sample.pred_flow.data
        assert full.shape == (2, *size)
        for y, x in ((23, 40), (24, 47), (31, 55), (40, 60)):
            # between the centers of four cells, which are 16 pixels apart, the first at 7.5
            row, column = (y - 7.5) / 16, (x - 7.5) / 16
            top, left = int(row), int(column)
            down, right = row - top, column - left
            expected = (1 - down) * (
                (1 - right) * flow[:, top, left] + right * flow[:, top, left + 1]
            ) + down * ((1 - right) * flow[:, top + 1, left] + right * flow[:, top + 1, left + 1])
            torch.testing.assert_close(full[:, y, x], expected, rtol=1e-4, atol=1e-4)


def test_scale_field_does_not_learn_and_everything_else_does():
    """Otherwise parallel training would wait for a gradient that never comes."""
    model = pretrainer()
    inputs, flow = torch.randn(1, 2, 3, *SIZE), torch.randn(1, 2, *SIZE)
    sum(model(inputs, samples(flow), mode='loss').values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad != name.startswith('temporal.scale'), name
    assert torch.equal(model.temporal.scale.bias, torch.ones(4))


def test_training_lowers_the_error():
    """Pairs that are shifted as a whole, by one of two flows."""
    model = pretrainer()
    picture = F.interpolate(torch.randn(4, 3, 16, 24), size=(64, 96), mode='bilinear')
    shifts = ((8, 0), (-8, 4), (8, 0), (-8, 4))
    # what lies at x in the current frame lies at x + shift in the key frame
    key = torch.stack(
        [torch.roll(p, (dy, dx), (1, 2)) for p, (dx, dy) in zip(picture, shifts, strict=True)]
    )
    inputs = torch.stack((key, picture), 1)
    flow = torch.tensor(shifts, dtype=torch.float32)[:, :, None, None].expand(4, 2, 64, 96)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for _ in range(40):
        losses = model(inputs, samples(flow), mode='loss')
        history.append(losses['loss_flow'].item())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert history[0] > 7 and min(history[-5:]) < 0.4 * history[0], history


# --- the trained flow network in the package, from which adaptations start ------------------------


CHECKPOINT = 'semidff::pretrained/flownet-s-eighth_synthetic.pth'
NETWORK = 'temporal.flow_network'
PREPROCESSORS = dict(
    imagenet=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    caffe=dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0]),
)


@pytest.fixture(scope='module')
def pairs():
    """Three generated pairs of pictures, key frame first, and the flow (2, H, W) of each."""
    found = []
    for seed in range(3):
        clip = make_chairs(np.random.SeedSequence(12345, spawn_key=(seed,)), (288, 384))
        current, key = render(clip, 0), render(clip, 1)
        flow, _ = true_flow(clip, current.owner, key.owner, 0, 1)
        images = torch.from_numpy(np.stack((key.image, current.image))).permute(0, 3, 1, 2)
        found.append((images, torch.from_numpy(flow).permute(2, 0, 1)))
    return found


@pytest.mark.parametrize('name', PREPROCESSORS)
def test_it_estimates_flow_with_any_normalization(pairs, name):
    """Detectors differ in channel order, mean and standard deviation."""
    preprocessor = dict(PREPROCESSORS[name], type='VideoDataPreprocessor')
    temporal = dict(type='TemporalModule', flow_network=dict(type='FlowNetS', width=1 / 8))
    config = dict(type='FlowPretrainer', temporal=temporal, data_preprocessor=preprocessor)
    model = MODELS.build(config).eval()
    network = model.temporal.flow_network
    assert network.input_scale == pytest.approx(np.mean(preprocessor['std']) / 255)
    load_strict(network, CHECKPOINT, prefix=NETWORK)
    errors = []
    with torch.no_grad():
        for images, flow in pairs:
            inputs = model.data_preprocessor(dict(inputs=[images]))['inputs']
            predicted = F.interpolate(model(inputs), flow.shape[1:], mode='bilinear')
            errors.append([(p - flow).norm(dim=0).mean() for p in (predicted[0], 0 * flow)])
    error, of_zero = torch.tensor(errors).mean(0)
    assert error < 0.1 * of_zero
