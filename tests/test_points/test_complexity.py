"""Counted operations against hand-computed ones, DFF Table 2, and the equations' arithmetic."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.ops import deform_conv2d

from semidff.models.temporal import warp
from semidff.points.complexity import (
    ComplexityReport,
    Cost,
    count,
    measure_complexity,
)
from tests.tiny import models
from tests.tiny.videos import build

ROOT = Path(__file__).resolve().parents[2]
PREPROCESSOR = dict(type='VideoDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3)


def sff(kind: str) -> nn.Module:
    """A video detector with OpenCV's flow."""
    detector, _, strides = models.KINDS[kind]
    flow = dict(type='OpenCVFlow')
    temporal = dict(
        type='TemporalModule', flow_network=flow, feat_strides=strides, with_scale=False
    )
    settings = dict(temporal=temporal, data_preprocessor=PREPROCESSOR)
    return build(dict(type='VideoDetector', detector=detector(), **settings))


def test_counts_multiply_adds_by_hand():
    image = torch.zeros(2, 3, 10, 12)
    assert count(nn.Conv2d(3, 8, 5, 2, 2), image)[0] == 2 * 8 * 5 * 6 * 3 * 25
    assert count(nn.Conv2d(3, 6, 3, padding=1, groups=3), image)[0] == 2 * 6 * 120 * 9
    assert count(nn.ConvTranspose2d(3, 4, 4, 2, 1), image)[0] == 2 * 3 * 120 * 4 * 16
    assert count(nn.Linear(12, 7), image)[0] == 60 * 12 * 7
    offsets, weight = torch.zeros(2, 18, 10, 12), torch.zeros(8, 3, 3, 3)
    expected = 2 * 120 * 3 * 9 * (8 + 4)  # four neighbors of each input
    assert count(deform_conv2d, image, offsets, weight, None, 1, 1)[0] == expected
    # four neighbors for each element, independent of the padding of the warp and of the memory layout
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
    # RPN: 2 anchors of 2 scores and 4 deltas; head: 3 x 3 bins of 3 scores and 4 deltas; half the channels each
    outputs = 2 * (2 + 4) + 9 * (3 + 4)
    assert report.size == (70, 100)
    assert report.parts['scale'] == Cost(cells * hidden * width, (hidden + 1) * width)
    assert report.parts['warp'] == Cost(4 * cells * width, 0)
    assert report.parts['task_network'] == Cost(cells * width // 2 * outputs, 17 * outputs)
    held = sum(p.numel() for p in model.temporal.flow_network.parameters())
    assert report.parts['flow'].parameters == held
    assert all(
        report.parts[name].flops > 10 * cells * width for name in ('feature_network', 'flow')
    )


@pytest.mark.parametrize('kind', ['retinanet', 'faster_rcnn'])
def test_several_levels_and_flow_that_is_no_network(kind):
    report = measure_complexity(sff(kind), 64, 96)
    _, channels, strides = models.KINDS[kind]
    cells = sum(math.ceil(64 / s) * math.ceil(96 / s) for s in strides)
    assert report.parts['warp'].flops == 4 * channels * cells
    assert report.parts['feature_network'].flops > 0
    assert report.parts['task_network'].flops > 0
    assert report.parts['flow'] == report.parts['scale'] == Cost(0, 0)
    assert report.inverse_ratios == {}
    assert 'not a network' in report.text([1, 10])


def test_non_key_frames_with_fewer_proposals():
    settings = dict(non_key_test_cfg=dict(rpn=dict(max_per_img=5)))
    config = models.video_config('faster_rcnn', 'VideoDetector', data_preprocessor=PREPROCESSOR)
    full, fewer = (measure_complexity(build({**config, **s}), 64, 96) for s in ({}, settings))
    assert 'task_key' not in full.parts
    assert fewer.parts['task_key'] == full.parts['task_network']
    assert fewer.parts['task_network'].flops < full.parts['task_network'].flops
    saved = full.parts['task_network'].flops - fewer.parts['task_network'].flops
    key = sum(full.parts[name].flops for name in ('feature_network', 'task_network'))
    assert fewer.ratio == pytest.approx(full.ratio - saved / key)
    assert "the frame's own features" in fewer.text([10])


def test_report_computes_equations_5_to_7():
    parts = dict(
        feature_network=Cost(900, 5),
        flow=Cost(70, 3),
        scale=Cost(10, 1),
        warp=Cost(20, 0),
        task_network=Cost(100, 2),
    )
    report = ComplexityReport((6, 10), parts)
    assert report.ratio == pytest.approx(200 / 1000)
    assert report.inverse_ratios == pytest.approx(
        {'N_feat / F': 900 / 70, 'N_feat / (F + S)': 900 / 80}
    )
    figures = report.to_dict([1, 10])
    assert figures['speedups'] == pytest.approx({1: 1.0, 10: 10 / (1 + 9 * 0.2)})
    assert figures['parts']['flow'] == dict(flops=70, parameters=3)
    lines = [line for line in report.text([10]).split('\n') if line.startswith('|')]
    cells = ([cell.strip() for cell in line.strip('|').split('|')] for line in lines)
    rows = {name: numbers for name, *numbers in cells}
    assert rows['one frame of 6 x 10'] == ['GFLOPs', 'M params']
    assert rows['N_feat: feature network'] == ['0.000', '0.000']
    assert rows['r (DFF Eq. 5)'] == ['0.2000']
    assert rows['s (DFF Eq. 7) at l = 10'] == ['3.57']
