"""COCO AP of arrays, compared with its definition; gap recovery; the error of optical flow."""

import json
import math

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from semidff.evaluation.metrics import coco_ap, gap_recovery
from semidff.evaluation.vid_ap import Detections, GroundTruth
from semidff.evaluation.vid_evaluator import VIDEvaluator


def truth():
    """Two frames, two of three classes; boxes of 100 x 100."""
    box = [0.0, 0.0, 100.0, 100.0]
    return GroundTruth(np.array([0, 1, 1]), np.array([0, 0, 2]), np.array([box] * 3))


def found(widths, labels=(0, 0, 2), frames=(0, 1, 1)):
    """Boxes of the same place, narrower: their IoU is the width in hundredths."""
    boxes = np.array([[0.0, 0.0, width, 100.0] for width in widths]).reshape(-1, 4)
    scores = np.full(len(boxes), 0.9)
    return Detections(np.array(frames, int), np.array(labels, int), scores, boxes)


@pytest.mark.parametrize(
    ('widths', 'expected'),
    [
        ((100, 100, 100), (1, 1, 1)),
        ((72, 72, 72), (0.5, 1, 0)),  # found at 0.5, 0.55, ..., 0.7
        ((100, 100, 72), (0.75, 1, 0.5)),  # mean over the two classes that are there
    ],
)
def test_mean_over_ious_and_classes(widths, expected):
    figures = coco_ap(truth(), found(widths), 2, 3)
    assert tuple(figures.values()) == pytest.approx(expected)


def test_nothing_found_and_nothing_to_find():
    nothing = found((), (), ())
    assert coco_ap(truth(), nothing, 2, 3) == dict(AP=0, AP_50=0, AP_75=0)
    empty = GroundTruth(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)))
    assert all(np.isnan(value) for value in coco_ap(empty, nothing, 2, 3).values())


def test_crowds_count_as_in_pycocotools(tmp_path):
    """A crowd that is missed, detections inside it, and a class that has nothing but a crowd."""
    boxes = [(1, 1, [0, 0, 50, 50], 0), (1, 1, [100, 0, 200, 100], 1), (2, 2, [0, 0, 90, 90], 1)]
    content = {
        'images': [dict(id=i, file_name=f'{i}.jpg', width=400, height=300) for i in (1, 2)],
        'annotations': [
            dict(id=n, image_id=i, category_id=c, bbox=box, area=box[2] * box[3], iscrowd=crowd)
            for n, (i, c, box, crowd) in enumerate(boxes, 1)
        ],
        'categories': [dict(id=1, name='cat'), dict(id=2, name='dog')],
    }
    (tmp_path / 'val.json').write_text(json.dumps(content))
    given = [(0, [120, 10, 160, 60], 0.9), (0, [0, 0, 50, 50], 0.8), (1, [0, 0, 30, 30], 0.7)]
    found = Detections(
        np.array([frame for frame, _, _ in given]), np.zeros(3, int),
        np.array([score for _, _, score in given]), np.array([box for _, box, _ in given], float),
    )  # fmt: skip
    ours = VIDEvaluator(str(tmp_path / 'val.json')).coco_ap(found)

    reference = COCO(str(tmp_path / 'val.json'))
    results = [
        dict(image_id=frame + 1, category_id=1, bbox=[x, y, x2 - x, y2 - y], score=score)
        for frame, (x, y, x2, y2), score in given
    ]
    evaluation = COCOeval(reference, reference.loadRes(results), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert list(ours.values()) == pytest.approx(evaluation.stats[:3].tolist())
    assert ours['AP'] == pytest.approx(1)


@pytest.mark.parametrize(('score', 'share'), [(20, 0), (90, 1), (55, 0.5), (6, -0.2), (97, 1.1)])
def test_share_of_the_gap(score, share):
    assert gap_recovery(score, frame=90, copy=20) == pytest.approx(share)


@pytest.mark.parametrize(('frame', 'copy'), [(50, 50), (40, 50), (math.nan, 50), (50, math.nan)])
def test_no_gap_to_recover(frame, copy):
    assert math.isnan(gap_recovery(45, frame, copy))


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
