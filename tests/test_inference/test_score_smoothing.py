"""Smoothing of scores: hand-computed means along tracks, and the engine with it."""

import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.inference import VideoEngine
from semidff.inference.score_smoothing import ScoreSmoother
from tests.tiny_video import batch

NEAR = math.exp(-0.5 * 0.8**2)  # one frame away, with a window of 2
FAR = math.exp(-0.5 * 1.6**2)


def frames(*scores):
    """A moving object with these scores, a weak detection and one of another class in the same place."""
    samples = []
    for index, score in enumerate(scores):
        x = 10.0 + 3 * index
        boxes = torch.tensor([[x, 5, x + 20, 25], [x, 5, x + 20, 25], [60, 40, 70, 50.0]])
        found = torch.tensor([score, 0.5, 0.04])
        sample = DetDataSample(metainfo=dict(frame_id=index))
        labels = torch.tensor([0, 1, 0])
        sample.pred_instances = InstanceData(bboxes=boxes, scores=found, labels=labels)
        samples.append(sample)
    return samples


def score(sample, label=0):
    found = sample.pred_instances
    return found.scores[(found.labels == label) & (found.bboxes[:, 0] < 50)].item()


def mean(*weighted):
    """Mean of (score, weight of the distance), weighted by the scores, too."""
    return sum(s * s * w for s, w in weighted) / sum(s * w for s, w in weighted)


def test_causal_and_offline_means():
    causal = ScoreSmoother(2).push(frames(0.9, 0.3, 0.6, 0.8))
    assert [score(one) for one in causal] == pytest.approx([
        0.9, mean((0.9, NEAR), (0.3, 1)), mean((0.9, FAR), (0.3, NEAR), (0.6, 1)),
        mean((0.3, FAR), (0.6, NEAR), (0.8, 1)),
    ])  # fmt: skip
    smoother = ScoreSmoother(2, offline=True)
    found = smoother.push(frames(0.9, 0.3, 0.6, 0.8))
    assert len(found) == 2  # the others wait for two frames
    found += smoother.flush()
    assert [one.frame_id for one in found] == [0, 1, 2, 3] and smoother.flush() == []
    assert score(found[0]) == pytest.approx(mean((0.9, 1), (0.3, NEAR), (0.6, FAR)))
    assert score(found[1]) == pytest.approx(mean((0.9, NEAR), (0.3, 1), (0.6, NEAR), (0.8, FAR)))
    for one, given in zip(found, frames(0.9, 0.3, 0.6, 0.8), strict=True):
        assert score(one, label=1) == pytest.approx(0.5)
        result = one.pred_instances
        assert result.scores.tolist() == sorted(result.scores.tolist(), reverse=True)
        assert result.scores[-1].item() == pytest.approx(0.04)  # in no track
        assert sorted(result.bboxes.tolist()) == sorted(given.pred_instances.bboxes.tolist())


@pytest.mark.parametrize('method', ['frame', 'propagate', 'centered', 'blend'])
def test_engine(model, method):
    """All frames in order with their boxes; a window of no frame changes nothing."""
    runs = []
    for smooth in (0, 3):
        engine = VideoEngine(model, method, 3, smooth_scores=smooth)
        first = engine.push(batch(0, 0))
        assert len(first) == (0 if smooth and method in ('centered', 'blend') else 1)
        results = first + [one for index in range(1, 8) for one in engine.push(batch(0, index))]
        runs.append(results + engine.flush())
    plain, smooth = runs
    assert [one.frame_id for one in smooth] == [one.frame_id for one in plain] == list(range(8))
    assert [one.is_key_frame for one in smooth] == [one.is_key_frame for one in plain]
    changed = 0
    for one, other in zip(plain, smooth, strict=True):
        boxes = [sorted(sample.pred_instances.bboxes.tolist()) for sample in (one, other)]
        assert boxes[0] == boxes[1]
        changed += not torch.allclose(one.pred_instances.scores, other.pred_instances.scores)
    assert changed > 1
