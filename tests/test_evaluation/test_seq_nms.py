"""Seq-NMS against an enumeration of all sequences, and against NMS."""

import numpy as np
import torch
from torchvision.ops import nms

from semidff.evaluation.seq_nms import seq_nms
from semidff.evaluation.vid_ap import Detections, box_iou


def random_detections(rng, frames, most):
    """Return up to ``most`` boxes a frame, of two classes, unsorted; many overlap, some frames have none."""
    at = rng.permutation(np.repeat(np.arange(frames), rng.integers(0, most + 1, frames)))
    corner, size = rng.uniform(0, 40, (len(at), 2)), rng.uniform(40, 60, (len(at), 2))
    boxes = np.concatenate([corner, corner + size], 1)
    return Detections(at, rng.integers(0, 2, len(at)), rng.uniform(0, 1, len(at)), boxes)


def enumerated(found, videos):
    """Return the scores of the boxes that are left: at each step, all sequences of linked boxes are compared."""

    def alike(a, b, later, threshold):
        frame, other, same = *found.frames[[a, b]], found.labels[a] == found.labels[b]
        if not same or other != frame + later or videos[frame] != videos[other]:
            return False
        return box_iou(found.boxes[[a]], found.boxes[[b]])[0] > threshold

    def sequences(path):
        yield path
        for box in left:
            if alike(path[-1], box, 1, 0.5):
                yield from sequences([*path, box])

    left, scores = set(range(len(found))), {}
    while left:
        every = [path for box in left for path in sequences([box])]
        best = max(every, key=lambda path: found.scores[path].sum())
        scores |= dict.fromkeys(best, found.scores[best].mean())
        left -= {box for box in left for own in best if alike(own, box, 0, 0.3)}
    return scores


def test_equals_the_enumeration_of_all_sequences():
    rng, videos = np.random.default_rng(0), np.array([3, 3, 3, 3, 3, 3, 8, 8])
    longest = 0
    for _ in range(100):
        found = random_detections(rng, 8, 4)
        expected = enumerated(found, videos)
        result = seq_nms(found, videos)
        rows = [np.flatnonzero((found.boxes == box).all(1))[0] for box in result.boxes]
        assert sorted(rows) == sorted(expected)
        np.testing.assert_allclose(result.scores, [expected[row] for row in rows])
        assert (found.frames[rows] == result.frames).all()
        assert (found.labels[rows] == result.labels).all()
        longest = max(longest, np.unique(result.scores, return_counts=True)[1].max())
    assert longest >= 4


def test_one_frame_is_nms():
    found = random_detections(np.random.default_rng(1), 1, 100)
    result = seq_nms(found, np.zeros(1))
    for label in range(2):
        own = found.select(found.labels == label)
        sides = torch.tensor(own.boxes + [0, 0, 1, 1])  # boxes include their last pixels
        kept = nms(sides, torch.tensor(own.scores), 0.3).numpy()
        assert 1 < len(kept) < len(own)
        assert (result.boxes[result.labels == label] == own.boxes[kept]).all()
        assert (result.scores[result.labels == label] == own.scores[kept]).all()


def test_a_frame_without_boxes_and_the_end_of_a_video_end_a_sequence():
    frames, scores = np.array([0, 1, 3, 4]), np.array([0.2, 0.4, 0.9, 0.5])
    found = Detections(frames, np.zeros(4, int), scores, np.full((4, 4), [0.0, 0, 9, 9]))
    assert seq_nms(found, np.array([1, 1, 1, 1, 2])).scores.round(9).tolist() == [
        0.3,
        0.3,
        0.9,
        0.5,
    ]
    nothing = found.select(np.zeros(0, int))
    assert len(seq_nms(nothing, np.zeros(5))) == 0
