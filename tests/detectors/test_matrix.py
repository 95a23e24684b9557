"""The checks of the matrix on a narrow RetinaNet, and that they can fail."""

import pytest
import torch
from torch import nn

from semidff.models import SemiDFF

from . import graph_path, matrix
from .loss_parts import gradient_norms
from .stock_detectors import NARROW, build_stock, overfit, pictures
from .video_detectors import SPLITS, video_detector

SMALL = (64, 96)


@pytest.fixture(scope='module')
def retinanet():
    detector = build_stock('retinanet/retinanet_r50_fpn_1x_coco', narrow=True)
    overfit(detector, SMALL, 1)
    return detector


@pytest.mark.parametrize('split', SPLITS[:3])  # RetinaNet has no encoder
def test_all_checks_pass(retinanet, split):
    model = video_detector(retinanet, split)
    assert matrix.check_boxes(retinanet, model, SMALL) == 0
    for name in matrix.OPTIONS:
        found = matrix.check_options(model, name, SMALL)
        assert (found > 1e-5) == (name != 'channels_last')
    matrix.check_semantic(video_detector(retinanet, split, kind=SemiDFF), 0.0, SMALL)
    assert matrix.check_fixed(retinanet, SMALL) <= 1e-4


@pytest.mark.parametrize(
    ('config', 'end'),
    [
        ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco', 'boxes'),
        ('tood/tood_r50_fpn_1x_coco', 'boxes'),
        ('rtmdet/rtmdet_tiny_8xb32-300e_coco', 'boxes'),
        ('deformable_detr/deformable-detr_r50_16xb2-50e_coco', 'boxes'),
        ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco', 'raw outputs'),
    ],
)
def test_graphs_of_a_gpu(config, end):
    path, boxes, lost = graph_path.compare(*graph_path.build(config))
    assert (path.end, path.captures, path.failed, lost) == (end, 4, 0, 0) and boxes > 100
    assert end != 'boxes' or (path.waits.total() == 1 and path.kernels <= 5)


@pytest.mark.parametrize(
    'config', ['rpn/rpn_r50_fpn_1x_coco', 'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco']
)
def test_detectors_with_one_of_two_stages_are_built(config):
    assert build_stock(config, narrow=True).neck.out_channels == 256 // NARROW


def test_wrong_outputs_and_unbalanced_parts_fail(retinanet, monkeypatch):
    def misread(self, maps):  # as mmcv's operators misread channels-last maps
        if maps.is_contiguous():
            return maps.relu()
        return maps.permute(0, 2, 3, 1).reshape(maps.shape).relu()

    model = video_detector(retinanet)
    with monkeypatch.context() as patch, pytest.raises(AssertionError):
        patch.setattr(nn.ReLU, 'forward', misread)
        matrix.check_options(model, 'channels_last', SMALL)
    with torch.no_grad(), pytest.raises(AssertionError):
        model.spatial.detector.bbox_head.retina_reg.bias += 1
        matrix.check_boxes(retinanet, model, SMALL)
    monkeypatch.setattr(matrix, 'BALANCED', 0.5)
    with pytest.raises(AssertionError):
        matrix.check_semantic(video_detector(retinanet, kind=SemiDFF), 1.0, SMALL)


def test_parts_of_a_cascade_s_stages_are_added():
    detector = build_stock('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', narrow=True)
    model = video_detector(detector, kind=SemiDFF)
    model.set_objectives(*matrix.SEMANTIC)
    norms = gradient_norms(model, *pictures(SMALL))
    assert set(norms) == {'rpn_cls', 'rpn_box', 'roi_cls', 'roi_box'}
