"""The filter behind the methods: masks that move with boxes, and results in the detector's form."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.datasets.video_readers import Frame
from semidff.inference.follow import Follow
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


def frame(number, boxes, kind='tracked', found=None):
    """A frame on which something was detected, unless it is tracked."""
    sample = DetDataSample(metainfo=dict(ori_shape=SIZE, frame_id=number))
    if found is not None:
        sample.pred_instances = found
    return Frame(None, number, sample=sample, picture=picture(SIZE, boxes), kind=kind)


def push(follow, one):
    return [done.sample for done in follow.push(one)]


def run(kind, count=24, every=6, ahead=6, shift=STEP, light=False, **options):
    """Frames with two objects that move, of which every sixth frame is a key frame; their results
    and true boxes."""
    follow, results, true = Follow(2, kind, ahead), [], []
    for number in range(count):
        boxes, found = BOXES + np.tile(shift, 2) * number, None
        own = 'key' if number % every == 0 else 'light' if light else 'tracked'
        if own != 'tracked':
            found = instances(boxes, [0.9, 0.6], [1, 0], **options)
        true.append(boxes)
        results += push(follow, frame(number, boxes, own, found))
        if kind == 'causal':
            assert len(results) == number + 1
    return [*results, *(one.sample for one in follow.flush())], true


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
    follow = Follow(1, 'causal', 6)
    small, large = np.array([[20, 20, 60, 60.0]]), np.array([[20, 20, 66, 64.0]])
    push(follow, frame(0, small, 'key', instances(small, [0.8])))
    [one] = push(follow, frame(1, small, 'key', instances(large, [0.8])))
    box, mask = one.pred_instances.bboxes[0].numpy(), one.pred_instances.masks[0]
    assert 60.5 < box[2] < 66 and iou(mask, mask_of(box)) > 0.95


def test_masks_that_were_detected_on_this_frame_are_given_unchanged():
    given, odd = instances(BOXES[:1], [0.8]), np.random.default_rng(0).random((1, *SIZE)) > 0.5
    given.masks = odd = torch.from_numpy(odd)
    [one] = push(Follow(1, 'causal', 6), frame(0, BOXES[:1], 'key', given))
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


def test_identities_alone():
    follow = Follow(2, 'identities', 6)
    for number in range(6):
        boxes = np.concatenate([BOXES + np.tile(STEP, 2) * number, BOXES[:1]])
        given = instances(boxes[::-1], [0.03, 0.6, 0.9])
        before, kind = given.clone(), 'light' if number else 'key'
        (one,) = push(follow, frame(number, boxes, kind, given))
        after = one.pred_instances
        assert after is given and after.instances_id.tolist() == [-1, 1, 0]
        assert after.instances_id.dtype == torch.long
        assert all(
            torch.equal(after[name], before[name])
            for name in ('bboxes', 'scores', 'labels', 'masks')
        )
    assert list(follow.flush()) == []


def test_nothing_is_detected():
    follow, results = Follow(1, 'both', 2), []
    nothing = instances(np.zeros((0, 4)), (), masks=False)
    for number in range(5):
        one = frame(number, []) if number else frame(0, [], 'key', nothing)
        results += push(follow, one)
    results += [one.sample for one in follow.flush()]
    assert [one.pred_instances.bboxes.shape for one in results] == [(0, 4)] * 5


def test_full_masks_do_not_wait_and_codes_are_forgotten():
    follow, count = Follow(1, 'both', 4), 0
    for number in range(40):
        one = frame(number, BOXES[:1], 'key', instances(BOXES[:1], [0.8]))
        for done in follow.push(one):
            assert len(done.sample.pred_instances.masks) == 1
            count += 1
            waiting = [each.sample for each in follow._waiting]
            assert all('pred_instances' not in sample for sample in waiting)
        assert len(follow._masks) <= 2 * 4 + 1 and len(follow._waiting) < 2 * 4
    assert count > 30


def test_some_detections_have_no_masks():
    follow = Follow(1, 'causal', 6)
    push(follow, frame(0, BOXES[:1], 'key', instances(BOXES[:1], [0.8])))
    light = instances(BOXES[:1], [0.8], masks=False)  # as those of *interpolate*
    push(follow, frame(1, BOXES[:1], 'light', light))
    [one] = push(follow, frame(2, BOXES, 'key', instances(BOXES[1:], [0.8])))
    assert len(one.pred_instances.masks) == len(one.pred_instances) == 2
