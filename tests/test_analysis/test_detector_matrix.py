"""The table of detectors, on three of them."""

import re

import pytest
import torch
from torch import nn

from semidff.analysis.detector_matrix import (
    CHECKS,
    CONSTANT,
    Case,
    check_frame,
    check_options,
    check_semantic,
    examine,
    onnx_check,
    video_detector,
)
from semidff.analysis.matrix_table import failures, markdown
from semidff.analysis.stock_detectors import NARROW, StockDetector, build_stock, overfit

SMALL = (64, 96)
RETINANET = StockDetector('retinanet/retinanet_r50_fpn_1x_coco', small=SMALL)


@pytest.fixture(scope='module')
def retinanet():
    detector = build_stock(RETINANET.config, narrow=True)
    score = overfit(detector, SMALL, 1)
    model = video_detector(detector, 'default')
    return Case(RETINANET, 'default', detector, score, 1 / 8, model, None)


def test_all_checks_of_a_detector_pass():
    checks = {name: CHECKS[name] for name in ('frame', 'channels_last', 'bf16', 'fp16', 'semantic')}
    results = {RETINANET.name: examine(RETINANET._replace(iterations=1), checks)}
    rows = results[RETINANET.name]
    assert list(rows) == ['default', 'TowerSplit', 'OutputSplit']
    assert failures(results) == []
    for row in rows.values():
        assert row['frame']['deviation'] == 0 and row['frame']['boxes'] > 0
        assert row['bf16']['deviation'] > 0 and row['fp16']['deviation'] > 0
    assert len([line for line in markdown(results).splitlines() if 'retinanet' in line]) == 3


@pytest.mark.parametrize(
    'config', ['rpn/rpn_r50_fpn_1x_coco', 'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco']
)
def test_detectors_with_one_of_two_stages_are_built(config):
    detector = build_stock(config, narrow=True)
    assert detector.neck.out_channels == 256 // NARROW


def test_flow_network_has_the_width_asked_for_and_the_stride_of_fine_levels(retinanet):
    coarse = build_stock('yolof/yolof_r50-c5_8xb8-1x_coco', narrow=True)
    networks = [
        video_detector(detector, 'default', width).temporal.flow_network
        for detector, width in ((retinanet.detector, 1 / 8), (coarse, 1 / 4))
    ]
    assert [network.stride for network in networks] == [8, 16]
    assert [network.conv1.out_channels for network in networks] == [8, 16]


def test_refusals_have_a_reason():
    detr = StockDetector('detr/detr_r50_8xb2-150e_coco', small=SMALL, iterations=0)
    results = {detr.name: examine(detr, {'frame': CHECKS['frame']}, ['TowerSplit'])}
    assert failures(results) == []
    assert 'TowerSplit' in markdown(results)


def test_a_wrong_detector_fails(retinanet, monkeypatch):
    assert check_frame(retinanet)['status'] == 'ok'
    # mmcv's operators misread channels-last maps; here one layer does.
    monkeypatch.setattr(nn.ReLU, 'forward', misread)
    assert check_options(retinanet, 'channels_last')['status'] == 'failed'


@pytest.mark.parametrize('check', ['measured', 'end_to_end'])
def test_timings_use_channels_last_maps(retinanet, check):
    layouts = []

    def record(layer, maps):
        layouts.append(maps[0].is_contiguous(memory_format=torch.channels_last))

    wide = video_detector(retinanet.detector, 'OutputSplit')
    wide.spatial.detector.neck.fpn_convs[0].conv.register_forward_pre_hook(record)
    stock = StockDetector(RETINANET.config, size=SMALL)
    found = CHECKS[check](retinanet._replace(stock=stock, wide=wide))
    _, *timed = layouts  # the first call is part of the conversion
    assert timed and all(timed) and found['text'].endswith('x')
    if check == 'end_to_end':
        assert list(found['parts']) == ['fp32, channels-last']


def misread(self, maps):
    if maps.is_contiguous():
        return maps.relu()
    return maps.permute(0, 2, 3, 1).reshape(maps.shape).relu()


def test_weights_without_gradient_and_unbalanced_parts_fail(retinanet, monkeypatch):
    trained = retinanet._replace(score=1.0)
    monkeypatch.setattr('semidff.analysis.detector_matrix.BALANCED', 0.5)
    assert check_semantic(trained)['status'] == 'failed'
    monkeypatch.setattr('semidff.models.SemiDFF.without_gradient', lambda *_: [])
    detector = retinanet.detector
    detector.bbox_head.register_parameter('unused', nn.Parameter(torch.zeros(1)))
    found = check_semantic(trained)
    del detector.bbox_head.unused
    assert found['status'] == 'failed' and 'unused' in found['text']


def test_a_constant_quality_is_not_compared():
    detector = build_stock('atss/atss_r50_fpn_1x_coco', narrow=True)
    atss = StockDetector('atss/atss_r50_fpn_1x_coco', small=SMALL)
    case = Case(atss, 'default', detector, 1.0, 1 / 8, None, None)
    cells = []
    for factor in (100.0, 0.0):
        with torch.no_grad():
            detector.bbox_head.atss_centerness.weight.mul_(factor)
        cells.append(check_semantic(case))
    varied, constant = cells
    assert varied['quality_spread'] > CONSTANT > constant['quality_spread']
    assert 'constant' not in varied['text']
    norms = constant['norms']
    assert norms['quality'] < 1e-6 * norms['cls']
    assert constant['text'].endswith('(quality constant)')
    assert constant['ratio'] == max(norms['cls'] / norms['box'], norms['box'] / norms['cls'])


def test_parts_of_a_cascade_s_stages_are_added(monkeypatch):
    config = 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco'
    stock, detector = StockDetector(config, small=SMALL), build_stock(config, narrow=True)
    case = Case(stock, 'default', detector, 1.0, 1 / 8, None, None)
    added = check_semantic(case)['norms']
    monkeypatch.setattr('semidff.analysis.loss_parts.STAGE', re.compile('never'))
    alone = check_semantic(case)['norms']
    assert set(added) == {'rpn_cls', 'rpn_box', 'roi_cls', 'roi_box'}
    assert added['rpn_cls'] == pytest.approx(alone['rpn_cls'])
    for name in ('roi_cls', 'roi_box'):
        stages = [norm for part, norm in alone.items() if part.startswith(name)]
        assert len(stages) == 3
        assert max(stages) < added[name] <= sum(stages) * (1 + 1e-5)


def test_exceptions_become_cells(retinanet):
    def export(model, folder, size):
        raise KeyError('not ours')

    results = {
        RETINANET.name: examine(
            RETINANET._replace(iterations=0), {'onnx': onnx_check(export)}, ['default']
        )
    }
    assert results[RETINANET.name]['default']['onnx']['status'] == 'error'
    (line,) = failures(results)
    assert 'not ours' in line
    missing = StockDetector('retinanet/there_is_none')
    results = {missing.name: examine(missing, {'frame': CHECKS['frame']}, ['default'])}
    assert failures(results)
