"""Counted operations against hand-computed ones, DFF Table 2, and the equations' arithmetic."""

import math

import pytest
import torch
from torch import nn
from torchvision.ops import deform_conv2d

from semidff.models.temporal import warp
from semidff.points.complexity import count, figures_of, measure_complexity, text_of
from tests.tiny import models
from tests.tiny.videos import build

PREPROCESSOR = dict(type='VideoDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3)


def test_counts_multiply_adds_by_hand():
    image = torch.zeros(2, 3, 10, 12)
    assert count(nn.Conv2d(3, 8, 5, 2, 2), image)[0] == 2 * 8 * 5 * 6 * 3 * 25
    assert count(nn.Conv2d(3, 6, 3, padding=1, groups=3), image)[0] == 2 * 6 * 120 * 9
    assert count(nn.ConvTranspose2d(3, 4, 4, 2, 1), image)[0] == 2 * 3 * 120 * 4 * 16
    assert count(nn.Linear(12, 7), image)[0] == 60 * 12 * 7
    offsets, weight = torch.zeros(2, 18, 10, 12), torch.zeros(8, 3, 3, 3)
    expected = 2 * 120 * 3 * 9 * (8 + 4)  # four neighbors of each input
    assert count(deform_conv2d, image, offsets, weight, None, 1, 1)[0] == expected
    # four neighbors for each element, whatever the padding of the warp and the memory layout
    with torch.no_grad():
        for maps in (image, image.contiguous(memory_format=torch.channels_last)):
            flops, moved = count(warp, maps, torch.zeros(2, 2, 10, 12))
            assert flops == 4 * image.numel()
            assert torch.equal(moved, image)


def test_counts_the_parts_of_rfcn_by_hand():
    model = build(models.video_config('rfcn', data_preprocessor=PREPROCESSOR))
    report = measure_complexity(model, 70, 100)
    cells, width = 5 * 7, 32
    hidden = model.temporal.flow_network.hidden_channels
    # RPN: 2 anchors of 2 scores and 4 deltas; head: 3 x 3 bins of 3 scores and 4 deltas; each on
    # half the channels
    outputs = 2 * (2 + 4) + 9 * (3 + 4)
    assert (report['height'], report['width']) == (70, 100)
    parts = report['parts']
    assert parts['scale'] == dict(flops=cells * hidden * width, parameters=(hidden + 1) * width)
    assert parts['warp'] == dict(flops=4 * cells * width, parameters=0)
    task = dict(flops=cells * width // 2 * outputs, parameters=17 * outputs)
    assert parts['task_network'] == task
    held = sum(p.numel() for p in model.temporal.flow_network.parameters())
    assert parts['flow']['parameters'] == held
    for name in ('feature_network', 'flow'):
        assert parts[name]['flops'] > 10 * cells * width


@pytest.mark.parametrize('kind', ['retinanet', 'faster_rcnn'])
def test_several_levels_and_flow_that_is_no_network(kind):
    detector, channels, strides = models.KINDS[kind]
    temporal = dict(
        type='TemporalModule',
        flow_network=dict(type='OpenCVFlow'),
        feat_strides=strides,
        with_scale=False,
    )
    settings = dict(temporal=temporal, data_preprocessor=PREPROCESSOR)
    model = build(dict(type='VideoDetector', detector=detector(), **settings))
    figures = figures_of(measure_complexity(model, 64, 96), [1, 10])
    cells = sum(math.ceil(64 / s) * math.ceil(96 / s) for s in strides)
    assert figures['parts']['warp']['flops'] == 4 * channels * cells
    for name in ('flow', 'scale'):
        assert figures['parts'][name] == dict(flops=0, parameters=0)
    assert figures['inverse_ratios'] == {} and 'not a network' in text_of(figures)


def test_non_key_frames_with_fewer_proposals():
    settings = dict(non_key_test_cfg=dict(rpn=dict(max_per_img=5)))
    config = models.video_config('faster_rcnn', 'VideoDetector', data_preprocessor=PREPROCESSOR)
    full, fewer = (measure_complexity(build({**config, **s}), 64, 96) for s in ({}, settings))
    flops = full['parts']['task_network']['flops']
    assert 'task_key' not in full['parts'] and fewer['parts']['task_key']['flops'] == flops
    saved = flops - fewer['parts']['task_network']['flops']
    key = full['parts']['feature_network']['flops'] + flops
    ratio = figures_of(full, [])['ratio'] - saved / key
    assert saved > 0 and figures_of(fewer, [])['ratio'] == pytest.approx(ratio)
    assert "the frame's own features" in text_of(figures_of(fewer, [10]))


def test_equations_5_to_7():
    flops = dict(feature_network=900, flow=70, scale=10, warp=20, task_network=100)
    parts = {name: dict(flops=number, parameters=3) for name, number in flops.items()}
    figures = figures_of(dict(height=6, width=10, parts=parts), [1, 10])
    assert figures['ratio'] == pytest.approx(200 / 1000)
    inverse = {'N_feat / F': 900 / 70, 'N_feat / (F + S)': 900 / 80}
    assert figures['inverse_ratios'] == pytest.approx(inverse)
    assert figures['speedups'] == pytest.approx({1: 1.0, 10: 10 / (1 + 9 * 0.2)})
    lines = [line for line in text_of(figures).split('\n') if line.startswith('|')]
    cells = ([cell.strip() for cell in line.strip('|').split('|')] for line in lines)
    rows = {name: numbers for name, *numbers in cells}
    assert rows['one frame of 6 x 10'] == ['GFLOPs', 'M params']
    assert rows['N_feat: feature network'] == ['0.000', '0.000']
    assert rows['r (DFF Eq. 5)'] == ['0.2000']
    assert rows['s (DFF Eq. 7) at l = 10'] == ['3.57']
