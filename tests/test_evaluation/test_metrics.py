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
    figures = coco_ap(truth(), found(widths), 3)
    assert tuple(figures.values()) == pytest.approx(expected)


def test_nothing_found_and_nothing_to_find():
    nothing = found((), (), ())
    assert coco_ap(truth(), nothing, 3) == dict(AP=0, AP_50=0, AP_75=0)
    empty = GroundTruth(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)))
    assert all(np.isnan(value) for value in coco_ap(empty, nothing, 3).values())


def test_figures_are_those_of_pycocotools(tmp_path):
    """Crowds, equal scores, equal overlaps, more than 100 detections, a class of crowds alone."""
    random = np.random.default_rng(0)
    corner = random.integers(0, 200, (90, 2))
    boxes = np.concatenate([corner, corner + random.integers(5, 60, (90, 2))], 1).astype(float)
    frames, labels, crowd = random.integers(0, 4, 90), random.integers(0, 3, 90), np.arange(90) < 9
    crowd |= labels == 2
    at = random.integers(0, 90, 1500)
    moved = boxes[at] + random.integers(-2, 3, (1500, 4))
    found = Detections(frames[at], labels[at], random.integers(1, 9, 1500) / 10, moved)
    content = dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=400, height=300) for i in range(4)],
        annotations=_annotations(frames, labels, boxes, iscrowd=crowd.astype(int).tolist()),
        categories=[dict(id=label, name=f'class {label}') for label in range(3)],
    )
    (tmp_path / 'val.json').write_text(json.dumps(content))
    ours = VIDEvaluator(str(tmp_path / 'val.json')).coco_ap(found)

    reference = COCO(str(tmp_path / 'val.json'))
    results = _annotations(found.frames, found.labels, found.boxes, score=found.scores.tolist())
    evaluation = COCOeval(reference, reference.loadRes(results), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert list(ours.values()) == pytest.approx(evaluation.stats[:3].tolist())
    assert 0.2 < ours['AP'] < 0.9


def _annotations(frames, labels, boxes, **more):
    """Boxes in COCO's format, with one more value."""
    [(name, values)] = more.items()
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    columns = frames.tolist(), labels.tolist(), sides.tolist(), sides[:, 2:].prod(1), values
    return [
        {'id': n, 'image_id': i, 'category_id': c, 'bbox': box, 'area': area, name: value}
        for n, (i, c, box, area, value) in enumerate(zip(*columns, strict=True), 1)
    ]


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
