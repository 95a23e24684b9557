"""The filter behind the methods: masks that move with boxes, and results in the detector's form."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.inference.filter_stage import FilterStage
from semidff.inference.intervals import Frame, Interval
from tests.tiny.pictures import picture

SIZE = (96, 128)
BOXES = np.array([[20, 20, 60, 70], [80, 30, 110, 60.0]])
STEP = np.array([1.5, 0.5])


def mask_of(box, size=SIZE):
    """The pixels whose centers are in a box."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    inside = (columns > box[0]) & (columns < box[2]) & (rows > box[1]) & (rows < box[3])
    return torch.from_numpy(inside)


def instances(boxes, scores, labels=None, masks=True):
    found = InstanceData(
        bboxes=torch.tensor(np.array(boxes), dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.tensor([0] * len(scores) if labels is None else labels, dtype=torch.long),
    )
    if masks:
        found.masks = torch.stack([mask_of(box) for box in boxes])
    return found


def frame(number, boxes, position, interval):
    sample = DetDataSample(metainfo=dict(ori_shape=SIZE, frame_id=number))
    return Frame(
        dict(data_samples=[sample]),
        (3, *SIZE),
        interval,
        position,
        is_tracked=position > 0,
        picture=picture(SIZE, boxes),
    )


def run(kind, count=24, every=6, ahead=6, shift=STEP, light=False, **options):
    """Frames with two objects that move, of which every sixth frame is a key frame; their results and true boxes."""
    stage, results, true, interval = FilterStage(2, kind, ahead), [], [], Interval()
    for number in range(count):
        boxes = BOXES + np.tile(shift, 2) * number
        position = number % every
        interval = Interval(interval) if number and position == 0 else interval
        one, result = frame(number, boxes, position, interval), None
        if position == 0 or light:
            result = one.sample
            result.pred_instances = instances(boxes, [0.9, 0.6], [1, 0], **options)
        true.append(boxes)
        results += stage.push(one, result)
        if kind == 'causal':
            assert len(results) == number + 1
    return [*results, *stage.flush()], true


def iou(mask, other):
    return (mask & other).sum().item() / (mask | other).sum().item()


@pytest.mark.parametrize('light', [False, True])
@pytest.mark.parametrize('kind', ['causal', 'both'])
def test_masks_move_with_boxes(kind, light):
    results, true = run(kind, count=19, light=light)
    assert [one.frame_id for one in results] == list(range(19))
    for number, (one, boxes) in enumerate(zip(results, true, strict=True)):
        found = one.pred_instances
        assert found.labels.tolist() == [1, 0] and found.instances_id.tolist() == [0, 1]
        assert found.bboxes.numpy() == pytest.approx(np.minimum(boxes, SIZE[1]), abs=1), number
        assert found.masks.shape == (2, *SIZE) and found.masks.dtype == torch.bool
        for mask, box in zip(found.masks, found.bboxes.numpy(), strict=True):
            assert iou(mask, mask_of(box)) > 0.86


def test_masks_are_scaled_with_boxes():
    stage, interval = FilterStage(1, 'causal', 6), Interval()
    small, large = np.array([[20, 20, 60, 60.0]]), np.array([[20, 20, 66, 64.0]])
    stage.push(frame(0, small, 0, interval), sample_of(small))
    [one] = stage.push(frame(1, small, 0, Interval(interval)), sample_of(large))
    box, mask = one.pred_instances.bboxes[0].numpy(), one.pred_instances.masks[0]
    assert 60.5 < box[2] < 66 and iou(mask, mask_of(box)) > 0.95


def sample_of(boxes, scores=(0.8,), masks=True):
    sample = DetDataSample(metainfo=dict(ori_shape=SIZE))
    sample.pred_instances = instances(boxes, list(scores), masks=masks)
    return sample


def test_masks_that_were_detected_on_this_frame_are_given_unchanged():
    stage, still = FilterStage(1, 'causal', 6), BOXES[:1]
    given = sample_of(still)
    odd = torch.from_numpy(np.random.default_rng(0).random((1, *SIZE)) > 0.5)
    given.pred_instances.masks = odd
    [one] = stage.push(frame(0, still, 0, Interval()), given)
    assert (one.pred_instances.masks == odd).all()


def test_boxes_are_clipped_and_those_outside_are_left_out():
    results, true = run('causal', count=24, every=24, shift=np.array([2.5, 0]))
    for one, boxes in zip(results, true, strict=True):
        found = one.pred_instances
        assert (found.bboxes >= 0).all() and (found.bboxes[:, 2] <= SIZE[1]).all()
        assert (found.bboxes[:, 2:] > found.bboxes[:, :2]).all()
        assert len(found.masks) == len(found) == len(found.instances_id)
        visible = [mask.any().item() for mask in found.masks]
        assert all(visible) or boxes[1, 0] > SIZE[1] - 2
    assert [len(one.pred_instances) for one in results][::23] == [2, 1]


@pytest.mark.parametrize('kind', ['causal', 'both'])
def test_results_are_as_those_of_the_detector(kind):
    results, _ = run(kind, masks=False)
    for one in results:
        found = one.pred_instances
        assert set(found.keys()) == {'bboxes', 'scores', 'labels', 'instances_id'}
        dtypes = [found[name].dtype for name in ('bboxes', 'scores', 'labels', 'instances_id')]
        assert dtypes == [torch.float32, torch.float32, torch.long, torch.long]
        assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_identities_alone():
    stage, interval = FilterStage(2, 'identities', 6), Interval()
    for number in range(6):
        boxes = np.concatenate([BOXES + np.tile(STEP, 2) * number, BOXES[:1]])
        given = sample_of(boxes[::-1], [0.03, 0.6, 0.9])
        before = given.pred_instances.clone()
        (one,) = stage.push(frame(number, boxes, number, interval), given)
        after = one.pred_instances
        assert one is given and after.instances_id.tolist() == [-1, 1, 0]
        assert after.instances_id.dtype == torch.long
        assert all(
            torch.equal(after[name], before[name])
            for name in ('bboxes', 'scores', 'labels', 'masks')
        )
    assert list(stage.flush()) == []


def test_nothing_is_detected():
    stage, interval = FilterStage(1, 'both', 2), Interval()
    results = []
    for number in range(5):
        given = sample_of(np.zeros((0, 4)), (), masks=False) if number == 0 else None
        results += stage.push(frame(number, [], number, interval), given)
    results += stage.flush()
    assert [one.pred_instances.bboxes.shape for one in results] == [(0, 4)] * 5


def test_memory_of_masks_does_not_grow():
    stage, interval = FilterStage(1, 'both', 4), Interval()
    for number in range(40):
        stage.push(frame(number, BOXES[:1], 0, interval), sample_of(BOXES[:1]))
        assert len(stage._masks) <= 2 * 4 + 1 and len(stage._samples) < 2 * 4


def test_some_detections_have_no_masks():
    stage, interval = FilterStage(1, 'causal', 6), Interval()
    stage.push(frame(0, BOXES[:1], 0, interval), sample_of(BOXES[:1]))
    light = frame(1, BOXES[:1], 1, interval)
    light.is_tracked = False
    stage.push(light, sample_of(BOXES[:1], masks=False))  # as those of *interpolate*
    [one] = stage.push(frame(2, BOXES, 0, Interval(interval)), sample_of(BOXES[1:]))
    assert len(one.pred_instances.masks) == len(one.pred_instances) == 2
