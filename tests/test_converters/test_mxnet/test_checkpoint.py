"""Recognition of files, and meaning of the box weights."""

import numpy as np
import pytest
import torch

from semidff.converters.mxnet.checkpoint import Normalization, to_checkpoint
from semidff.converters.mxnet.names import (
    ORIGINAL,
    PARTS,
    Network,
    lettered,
    numbered,
)
from semidff.datasets.imagenet import VID_CLASSES
from tests.test_converters.mxnet_params import HEADS, STDS, full, heads, with_copies, zeros

BOXES = 'roi_head.bbox_head.conv_reg.'


def inverse_copies() -> dict[str, np.ndarray]:
    """Divide plain weights out of the copies: multiplied, they may differ in the last bit."""
    copies = {f'{k}_test': v for k, v in heads().items() if k.startswith('rfcn_bbox')}
    shape = {1: STDS, 4: STDS[:, None, None, None]}
    return heads() | copies | {k[:-5]: v / shape[v.ndim] for k, v in copies.items()}


def test_our_boxes_times_the_deviations_are_the_inference_ones():
    wanted = heads()['rfcn_bbox_bias']
    for params in (heads(), inverse_copies()):
        converted = to_checkpoint(full(params))
        bias = converted.state[f'{BOXES}bias'].numpy()
        np.testing.assert_allclose(bias * STDS, wanted, rtol=1e-6)
        assert converted.agree
    for params, form in ((heads(), 'training'), (with_copies(heads()), 'copies')):
        ours = to_checkpoint(full(params), form=form).state
        assert np.array_equal(ours[f'{BOXES}bias'], wanted)


def test_boxes_of_another_coder():
    coder = Normalization(means=(0.5, 0, 0, 0), stds=(1.0, 1.0, 2.0, 2.0))
    state = to_checkpoint(full(heads()), normalization=coder).state
    bias = state[f'{BOXES}bias'].reshape(2, 4, 49)
    wanted = torch.from_numpy(heads()['rfcn_bbox_bias']).reshape(2, 4, 49)
    torch.testing.assert_close(bias[:, 0], wanted[:, 0] - 0.5)
    torch.testing.assert_close(bias[:, 2], wanted[:, 2] / 2)


def test_copies_win_where_they_disagree():
    params = with_copies(heads())
    params['rfcn_bbox_bias_test'] = params['rfcn_bbox_bias_test'] * 3
    converted = to_checkpoint(full(params))
    assert not converted.agree
    bias = converted.state[f'{BOXES}bias'].numpy()
    np.testing.assert_allclose(bias, 3 * heads()['rfcn_bbox_bias'], rtol=1e-5)


def test_one_box_group():
    weight = to_checkpoint(full(with_copies(heads())), box_groups=1).state[f'{BOXES}weight']
    assert np.array_equal(weight, heads()['rfcn_bbox_weight'][196:])


@pytest.mark.parametrize(('classes', 'anchors', 'bins'), [(31, 9, 7), (2, 12, 7), (6, 9, 3)])
def test_sizes_are_found(classes, anchors, bins):
    network = Network(classes=classes, anchors=anchors, bins=bins)
    params = heads(network)
    converted = to_checkpoint(full(params), form='training')
    assert converted.network == network
    meta, state = converted.meta, converted.state
    named = dict(dataset_meta=dict(classes=VID_CLASSES)) if classes == 31 else {}
    assert meta == dict(mxnet=dict(form='training'), **named)
    assert state['rpn_head.rpn_cls.bias'][:2].tolist() == [
        params['rpn_cls_score_bias'][anchors], params['rpn_cls_score_bias'][0],
    ]  # fmt: skip
    assert state['roi_head.bbox_head.conv_cls.bias'][-1] == params['rfcn_cls_bias'][bins**2 - 1]


@pytest.mark.parametrize(
    ('units', 'depth'),
    [(lettered(3, 4, 6, 3), 50), (ORIGINAL.units, 101), (numbered(3, 8, 36, 3), 152),
     (numbered(3, 4, 6, 3), 50)],
)  # fmt: skip
def test_imagenet_classifiers(units, depth):
    params = zeros(('backbone',), Network(units))
    params |= dict(fc1000_weight=np.zeros((1000, 2048)), fc1000_bias=np.zeros(1000))
    converted = to_checkpoint(full(params))
    assert (converted.parts, converted.network.depth) == (('backbone',), depth)
    assert converted.passed_over == ['fc1000_weight', 'fc1000_bias']
    state = converted.state
    assert {'conv1.weight', 'bn1.running_var', 'layer1.0.downsample.1.bias'} <= state.keys()
    assert len({key.split('.')[1] for key in state if key.startswith('layer3.')}) == len(units[2])


def test_parts_of_a_whole_network():
    params = zeros(PARTS) | heads() | {'teacher_rpn_cls_score_bias': np.zeros(18, np.float32)}
    converted = to_checkpoint(full(params), parts=('task_network', 'flow_network'))
    assert {k.split('.')[0] for k in converted.state} == {'spatial', 'temporal'}
    assert {'conv1_weight', 'Convolution5_scale_bias', 'teacher_rpn_cls_score_bias'} <= {
        *converted.passed_over
    }
    converted = to_checkpoint(full(params), parts=HEADS)
    assert all(k.startswith(('rpn_head.', 'roi_head.')) for k in converted.state)


def broken(**changes) -> dict[str, np.ndarray]:
    params = with_copies(heads()) | changes
    return full({name: array for name, array in params.items() if array is not None})
