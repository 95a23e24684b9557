"""Detections files in ILSVRC's format."""

import numpy as np

from semidff.datasets.ilsvrc_format import read_detections, write_detections


def test_written_numbers_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 30, 50)
    scores = rng.random(50, dtype=np.float32)
    boxes = (1000 * rng.random((50, 4))).astype(np.float32)
    path = tmp_path / 'new' / 'detections.txt'
    write_detections(
        path, [(5, labels[:20], scores[:20], boxes[:20]), (9, labels[20:], scores[20:], boxes[20:])]
    )
    table = read_detections(path, 30)
    assert table[:, 0].tolist() == [5] * 20 + [9] * 30
    np.testing.assert_array_equal(table[:, 1] - 1, labels)
    np.testing.assert_array_equal(table[:, 2].astype(np.float32), scores)
    np.testing.assert_array_equal(table[:, 3:].astype(np.float32), boxes)
