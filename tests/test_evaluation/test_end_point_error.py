"""The error of optical flow, as mmengine's evaluators compute it."""

import math

import pytest
import torch
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

import semidff.evaluation  # noqa: F401 registers the metric


def sample(predicted, true):
    """Flow fields that are constant on a map of a size: ((x, y), (height, width))."""

    def field(value, size):
        return PixelData(
            data=torch.tensor(value, dtype=torch.float32)[:, None, None].expand(2, *size)
        )

    data = DetDataSample(metainfo=dict(img_path='a.ppm'))
    data.pred_flow, data.gt_flow = field(*predicted), field(*true)
    return data


def evaluate(*batches):
    evaluator = Evaluator(METRICS.build(dict(type='EndPointErrorMetric')))
    for batch in batches:
        evaluator.process(batch, None)
    return evaluator.evaluate(sum(map(len, batches)))


def test_mean_over_the_pixels_of_all_pairs():
    small = sample(((3, 4), (2, 2)), ((0, 0), (2, 2)))  # error 5, nothing moves, 4 pixels
    large = sample(((6, 8), (3, 4)), ((6, 9), (3, 4)))  # error 1, true length sqrt(117), 12 pixels
    result = evaluate([small], [large])
    assert result['flow/EPE'] == pytest.approx((4 * 5 + 12 * 1) / 16)
    zero = 12 * math.sqrt(117) / 16
    assert result['flow/EPE_zero'] == pytest.approx(zero)
    assert result['flow/reduction'] == pytest.approx(1 - 2 / zero)
    assert evaluate([small, large]) == result


def test_no_motion_at_all_has_no_reduction():
    still = sample(((0, 0), (2, 2)), ((0, 0), (2, 2)))
    result = evaluate([still])
    assert result['flow/EPE'] == result['flow/EPE_zero'] == 0
    assert math.isnan(result['flow/reduction'])
