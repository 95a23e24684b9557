"""Detections files in ILSVRC's format."""

import numpy as np
import pytest

from semidff.datasets.ilsvrc_format import read_detections, write_detections


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / 'detections.txt'
        path.write_text(text)
        return path

    return write


def test_lines_in_the_files_order(file):
    table = read_detections(file('7 30 0.5000 1.25 2 3 4\n\n 3 1 1e-4 -1 0 10 20\n'), 30)
    assert table.tolist() == [[7, 30, 0.5, 1.25, 2, 3, 4], [3, 1, 1e-4, -1, 0, 10, 20]]


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
