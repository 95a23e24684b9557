"""Smoothing: hand-computed means of scores, boxes of known motion, and the engine with it."""

import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.inference.smoothing import Smoother

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
    causal = Smoother(2).push(frames(0.9, 0.3, 0.6, 0.8))
    assert [score(one) for one in causal] == pytest.approx([
        0.9, mean((0.9, NEAR), (0.3, 1)), mean((0.9, FAR), (0.3, NEAR), (0.6, 1)),
        mean((0.3, FAR), (0.6, NEAR), (0.8, 1)),
    ])  # fmt: skip
    smoother = Smoother(2, offline=True)
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


LENGTH = 40
TIME = np.arange(LENGTH)[:, None]


def walk(start, velocity, size=(30, 40), growth=(0.0, 0.0)):
    """True boxes (LENGTH, 4) of an object that moves, and grows, steadily."""
    center, sides = np.array(start) + TIME * velocity, np.array(size) + TIME * growth
    return np.concatenate([center - sides / 2, center + sides / 2], 1)


def results(tracks, labels=None, seen=None, masks=False):
    """Results whose boxes are those of ``tracks`` (objects, LENGTH, 4) in the frames ``seen`` (objects, LENGTH)."""
    samples, tracks = [], np.asarray(tracks)
    seen = np.ones(tracks.shape[:2], bool) if seen is None else seen
    for time in range(LENGTH):
        shown = np.flatnonzero(seen[:, time])
        boxes, scores = torch.tensor(tracks[shown, time]), torch.full((len(shown),), 0.9)
        classes = torch.tensor(labels or [0] * len(tracks))[shown]
        sample = DetDataSample(metainfo=dict(frame_id=time, ori_shape=(400, 600)))
        sample.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=classes)
        if masks:
            sample.pred_instances.masks = torch.zeros(len(shown), 4, 4, dtype=torch.bool)
        samples.append(sample)
    return samples


def smoothed(samples, lag):
    smoother = Smoother(boxes=lag)
    found = smoother.push(samples[:25])
    assert len(found) == max(25 - lag, 0)
    found += smoother.push(samples[25:]) + smoother.flush()
    assert [one.frame_id for one in found] == list(range(LENGTH))
    return [one.pred_instances.bboxes.numpy() for one in found]


def noisy(tracks, sigma, seed=0):
    return tracks + np.random.default_rng(seed).normal(0, sigma, np.shape(tracks))


def error(found, true):
    """Root of the mean squared error over objects, frames and coordinates."""
    return float(np.sqrt(np.mean((np.stack(found, 1) - true) ** 2)))


@pytest.mark.parametrize('lag', [2, LENGTH + 1])
def test_steady_motion(lag):
    """Boxes without noise stay as they are; of noisy ones, at least half of the noise's energy goes."""
    true = [walk((60, 80), (5, 1)), walk((500, 300), (-4, -3), growth=(0.3, 0.4))]
    assert error(smoothed(results(true), lag), true) < 1e-3
    given = noisy(true, 2.0)
    ratio = error(smoothed(results(given), lag), true) / error(np.swapaxes(given, 0, 1), true)
    assert ratio < (0.72 if lag == 2 else 0.6)


def test_turns_and_jumps_are_followed():
    """Where the motion changes, the error is at most that of the detected boxes; without noise it stays small."""
    turning = walk((60, 80), (6, 0))
    turning[20:] = turning[20] + (turning[:20] - turning[0])[:, [1, 0, 3, 2]]
    for lag in (2, 10):
        for seed in range(3):
            given = noisy([turning], 2.0, seed)
            near = slice(16, 25)
            after = error(smoothed(results(given), lag)[near], [turning[near]])
            assert after < 1.1 * error(list(given[0, near, None]), [turning[near]])
        assert error(smoothed(results([turning]), lag), [turning]) < 0.2


def test_crossing_objects_and_classes_keep_their_boxes():
    crossing = [walk((100, 200), (8, 0)), walk((412, 200), (-8, 0.5)), walk((260, 215), (0, 0))]
    given = noisy(crossing, 1.0)
    for labels in ([0, 0, 0], [0, 1, 0]):
        found = smoothed(results(given, labels), 8)
        assert error(found, crossing) < error(np.swapaxes(given, 0, 1), crossing)


def test_objects_that_enter_and_leave():
    """Boxes of an object seen for one or two frames stay, and those at the border do not leave the image."""
    seen = np.zeros((3, LENGTH), bool)
    seen[0, 10:11], seen[1, 20:22], seen[2] = True, True, True
    leaving = np.clip(walk((500, 100), (6, 0)), 0, [600, 400, 600, 400])
    seen[2] = leaving[:, 2] > leaving[:, 0]
    given = noisy([walk((100, 100), (0, 0)), walk((200, 300), (3, 0)), leaving], 0.0)
    found = smoothed(results(given, seen=seen), 4)
    np.testing.assert_allclose(found[10][0], given[0, 10], atol=1e-6)
    np.testing.assert_allclose(found[20][0], given[1, 20], atol=1e-3)
    assert max(boxes[:, 2].max(initial=0) for boxes in found) <= 600


def test_instances_with_masks_keep_their_boxes():
    given = noisy([walk((60, 80), (5, 1))], 2.0)
    assert np.array_equal(np.stack(smoothed(results(given, masks=True), 2), 1), given)


def test_memory_does_not_grow():
    smoother, samples = Smoother(4, 3), results([walk((60, 80), (5, 1))])
    for _ in range(5):
        smoother.push([sample.new() for sample in samples])
    assert len(smoother._frames) == 8
