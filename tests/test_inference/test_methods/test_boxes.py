"""Links and interpolation of boxes, against values computed by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from semidff.inference import KeyFrameSchedule
from semidff.inference.methods.boxes import box_distance, interpolate, link
from tests.tiny.stages import frame_of, results, stages


class Detections:
    """Gives detections in the place of a network, as an executor."""

    def __init__(self, keys: dict) -> None:
        self.keys, self.model = keys, nn.Conv2d(3, 3, 1)
        self.model.spatial = SimpleNamespace(prediction='pred_instances', detector=self.model)
        self.model.preprocess = lambda frames, samples: (frames, samples)

    def prepare(self, key, predict):
        pass

    def predict_key(self, inputs, samples):
        (sample,) = samples
        boxes, scores, labels = self.keys[sample.frame_id]
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(boxes).reshape(-1, 4),
            scores=torch.tensor(scores),
            labels=torch.tensor(labels, dtype=torch.long),
            masks=torch.ones(len(boxes), 20, 20, dtype=torch.bool),
        )
        return samples, None


class KeyFramesAt(KeyFrameSchedule):
    def __init__(self, indices) -> None:
        self.indices = indices

    def is_key(self, frame, distance):
        return frame.number in self.indices


def run(keys: dict, frames: int) -> list[InstanceData]:
    run = stages(Detections(keys), 'interpolate', schedule=KeyFramesAt(keys))
    samples = [DetDataSample(metainfo=dict(frame_id=index)) for index in range(frames)]
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    batches = (dict(inputs=[image], data_samples=[sample]) for sample in samples)
    found = results(run, batches)
    assert [result.frame_id for result in found] == list(range(frames))
    return [result.pred_instances for result in found]


def test_frames_that_wait_keep_no_pixels():
    run, frames = stages(Detections({0: ([], [], [])}), 'interpolate', 4), []

    def source():
        for index in range(3):
            sample = DetDataSample(metainfo=dict(frame_id=index))
            frames.append(frame_of(dict(inputs=[torch.zeros(3, 8, 8)], data_samples=[sample])))
            yield frames[-1]
            assert all(frame.inputs is None for frame in frames[1:])

    assert len(list(run.run(source()))) == 3


def test_linear_motion_is_exact():
    start, velocity = np.array([10.0, 20.0, 40.0, 60.0]), np.array([3.0, -1.0, 3.5, -0.5])
    keys = {
        index: ([(start + velocity * index).tolist()], [0.5 + 0.04 * index], [1])
        for index in (0, 5, 10)
    }
    for index, found in enumerate(run(keys, 11)):
        assert np.allclose(found.bboxes.numpy(), start + velocity * index, atol=1e-5)
        assert found.scores.numpy() == pytest.approx([0.5 + 0.04 * index])
        assert found.labels.tolist() == [1]
        assert ('masks' in found) == (index % 5 == 0), 'masks do not move'


def test_single_boxes_last_until_the_middle_and_the_last_ones_to_the_end():
    """Key frames 0 and 4; one object is only in the first, one only in the second."""
    keys = {0: ([[0.0, 0, 10, 10]], [0.9], [0]), 4: ([[500.0, 0, 510, 10]], [0.8], [0])}
    lefts = [found.bboxes[:, 0].tolist() for found in run(keys, 7)]
    assert lefts == [[0.0], [0.0], [0.0], [500.0], [500.0], [500.0], [500.0]]


def test_empty_key_frames():
    keys = {0: ([], [], []), 3: ([[0.0, 0, 10, 10]], [0.9], [0]), 6: ([], [], [])}
    assert [len(found) for found in run(keys, 7)] == [0, 0, 1, 1, 1, 0, 0]


def test_scores_come_in_descending_order():
    first = (np.array([[0.0, 0, 9, 9], [50, 0, 59, 9]]), np.array([0.9, 0.2]), np.array([0, 0]))
    later = (first[0], np.array([0.1, 0.8]), np.array([0, 0]))
    *_, (_, scores, _) = interpolate(first, later, 3)
    assert scores == pytest.approx([0.65, 0.3])


def test_distance_by_hand():
    first, second = np.array([[0.0, 0, 30, 40]]), np.array([[30.0, 0, 60, 40], [0, 0, 30, 20]])
    # apart by 30 at a diagonal of 50, no overlap; and half of the box, centers 10 apart
    diagonal = (50 + np.hypot(30, 20)) / 2
    assert box_distance(first, second)[0] == pytest.approx([1 + 30 / 50, 0.5 + 10 / diagonal])


def test_links_stay_in_the_class_and_within_reach():
    box, one, label = np.array([[0.0, 0, 30, 40]]), np.array([0.9]), np.array([0])
    assert len(link((box, one, label), (box, one, label + 1))[0]) == 0
    # 35 x sqrt(2) is 0.99 diagonals of 50, 36 x sqrt(2) is 1.02; there is no overlap
    assert link((box, one, label), (box + 35, one, label))[0].tolist() == [0]
    assert len(link((box, one, label), (box + 36, one, label))[0]) == 0


def test_links_are_best_in_sum_and_prefer_equal_scores():
    # Both move by 15; the second one's old box is nearer to the first one's new box, by 5.
    boxes = np.array([[0.0, 0, 40, 40], [20, 0, 60, 40]])
    scores, labels = np.array([0.9, 0.9]), np.array([0, 0])
    rows, columns = link((boxes, scores, labels), (boxes + [15, 0, 15, 0], scores, labels))
    assert dict(zip(rows.tolist(), columns.tolist(), strict=True)) == {0: 0, 1: 1}
    # A weak second box lies a little nearer than the strong one.
    weak_first = (boxes[[0, 0]] + [[1, 0, 1, 0], [3, 0, 3, 0]], np.array([0.1, 0.9]), labels)
    rows, columns = link((boxes[:1], scores[:1], labels[:1]), weak_first)
    assert columns.tolist() == [1]
