"""Propagated boxes averaged with interpolated ones."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from semidff.inference import MethodError, VideoEngine
from semidff.inference.methods.propagation import average
from tests.tiny_video import batch, build, video_detector_cfg

FRAMES, INTERVAL = 12, 5


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg()).eval()


def walk(model, method: str) -> list[InstanceData]:
    engine, results = VideoEngine(model, method, key_interval=INTERVAL), []
    for index in range(FRAMES):
        results += engine.push(batch(0, index))
    results += engine.flush()
    assert [result.frame_id for result in results] == list(range(FRAMES))
    return [result.pred_instances for result in results]


def arrays(*rows):
    boxes, scores, labels = zip(*rows, strict=True)
    return np.array(boxes, dtype=float), np.array(scores), np.array(labels)


def test_the_weight_is_half_the_squared_overlap():
    found = arrays(([0, 0, 10, 10], 0.9, 1))
    tracks = np.array([[0.0, 0, 10, 5]])  # IoU 1 / 2, weight 1 / 8
    assert average(found, tracks, np.array([1])).tolist() == [[0, 0, 10, 10 - 5 / 8]]
    found = arrays(([0, 0, 10, 10], 0.9, 1))
    assert average(found, tracks, np.array([2])).tolist() == [[0, 0, 10, 10]]


def test_each_track_moves_one_box():
    """The second box overlaps both tracks, and takes the one that the first does not need."""
    found = arrays(([0, 0, 10, 10], 0.9, 0), ([2, 0, 12, 10], 0.8, 0), ([50, 0, 60, 10], 0.7, 0))
    tracks = np.array([[0.0, 0, 10, 10], [4, 0, 14, 10]])
    boxes = average(found, tracks, np.array([0, 0]))
    assert boxes[0].tolist() == [0, 0, 10, 10] and boxes[2].tolist() == [50, 0, 60, 10]
    weight = (80 / 120) ** 2 / 2
    assert boxes[1] == pytest.approx([2 + 2 * weight, 0, 12 + 2 * weight, 10])


@pytest.mark.parametrize('n,m', [(0, 2), (2, 0), (0, 0)])
def test_nothing_to_average(n, m):
    found = np.zeros((n, 4)), np.zeros(n), np.zeros(n, dtype=int)
    assert average(found, np.zeros((m, 4)), np.zeros(m, dtype=int)).shape == (n, 4)


def test_boxes_lie_between_propagated_and_interpolated_ones(model):
    blended, propagated, interpolated = (
        walk(model, m) for m in ('blend', 'centered', 'interpolate')
    )
    moved = 0
    for index, (found, own) in enumerate(zip(blended, propagated, strict=True)):
        assert torch.equal(found.scores, own.scores) and torch.equal(found.labels, own.labels)
        if index in (0, 5, 10, 11):  # key frames, and the frame after the last one
            assert torch.equal(found.bboxes, own.bboxes)
            continue
        tracks = interpolated[index]
        expected = average(
            (own.bboxes.double().numpy(), own.scores.numpy(), own.labels.numpy()),
            tracks.bboxes.double().numpy(),
            tracks.labels.numpy(),
        )
        assert found.bboxes.numpy() == pytest.approx(expected, abs=1e-4)
        moved += (found.bboxes != own.bboxes).any(1).sum()
    assert moved


def test_boxes_of_masks_stay(model, monkeypatch):
    """They would not fit to their masks."""
    expected = walk(model, 'centered')
    predict = model.spatial.predict

    def with_masks(*args):
        samples = predict(*args)
        for sample in samples:
            sample.pred_instances.masks = torch.zeros(len(sample.pred_instances), 2, 2)
        return samples

    monkeypatch.setattr(model.spatial, 'predict', with_masks)
    for found, own in zip(walk(model, 'blend'), expected, strict=True):
        assert torch.equal(found.bboxes, own.bboxes)


def test_label_maps_have_no_boxes(model, monkeypatch):
    monkeypatch.setattr(type(model.spatial), 'prediction', 'pred_sem_seg')
    with pytest.raises(MethodError, match="'blend' moves boxes, but this model predicts pred_sem"):
        VideoEngine(model, 'blend')
