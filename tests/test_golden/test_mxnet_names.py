import numpy as np
import pytest
import torch

from semidff.converters.mxnet.names import NameMappingError, convert, targets
from tests.test_golden.original import read_json

HEADS = ('task_network',)


def heads() -> dict[str, np.ndarray]:
    """The heads' parameters; each output channel holds its own number."""
    return {
        name: np.broadcast_to(
            np.arange(t.shape[0], dtype=np.float32).reshape(-1, *[1] * (len(t.shape) - 1)), t.shape
        )
        for name, t in targets(HEADS).items()
    }


def test_every_parameter_of_the_original_has_one_place():
    spec = read_json('params_spec.json')['params']
    table = targets()
    assert {name: tuple(entry['shape']) for name, entry in spec.items()} == {
        name: target.shape for name, target in table.items()
    }
    assert len({target.key for target in table.values()}) == len(table) == 578


def test_background_comes_last():
    state = convert(heads(), HEADS)
    assert len(state) == 8
    rpn = state['spatial.detector.rpn_head.rpn_cls.bias']
    assert rpn.tolist()[:6] == [9, 0, 10, 1, 11, 2]
    classes = state['spatial.detector.roi_head.bbox_head.conv_cls.weight'][:, 0, 0, 0]
    assert classes[0] == 49 and classes[-49] == 0 and classes[-50] == 31 * 49 - 1
    boxes = state['spatial.detector.roi_head.bbox_head.conv_reg.bias']
    assert torch.equal(boxes, torch.arange(392.0))


def test_parts_and_the_copies_for_testing_are_passed_over():
    params = heads() | dict(rfcn_bbox_bias_test=np.zeros(392, np.float32))
    params['conv1_weight'] = np.zeros((64, 3, 7, 7), np.float32)
    assert convert(params, HEADS).keys() == convert(heads(), HEADS).keys()


def test_result_does_not_share_memory():
    params = {name: array.copy() for name, array in heads().items()}
    state = convert(params, HEADS)
    params['rfcn_bbox_bias'][:] = 7
    assert state['spatial.detector.roi_head.bbox_head.conv_reg.bias'][0] == 0


def test_problems_are_named():
    params = heads()
    del params['rpn_cls_score_bias']
    params['fc6_weight'] = np.zeros(1)
    params['rfcn_cls_bias'] = np.zeros(1000)
    with pytest.raises(NameMappingError) as error:
        convert(params, HEADS)
    message = str(error.value)
    assert '1 missing: rpn_cls_score_bias' in message and '1 unknown: fc6_weight' in message
    assert 'rfcn_cls_bias (1000,) instead of (1519,)' in message
