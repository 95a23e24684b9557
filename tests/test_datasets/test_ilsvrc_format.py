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


def test_empty_file_has_no_detections(file):
    assert read_detections(file(''), 30).shape == (0, 7)
    assert read_detections(file('\n \n'), 30).shape == (0, 7)


@pytest.mark.parametrize(
    'line',
    [
        '1 2 0.5 1 2 3', '1 2 0.5 1 2 3 4 5', '1 2 0.5 1 2 3 x', '1 31 0.5 1 2 3 4', '1 0 0.5 1 2 3 4',
        '1.5 2 0.5 1 2 3 4', '1 2 nan 1 2 3 4', '1 2 0.5 1 2 inf 4',
    ],
)  # fmt: skip
def test_broken_line_is_named(file, line):
    path = file(f'1 1 0.5 1 2 3 4\n\n1 1 0.4 1 2 3 4\n{line}\n1 1 0.5 1 2 3 4\n')
    with pytest.raises(ValueError, match=rf'{path}: .*(row|columns|{line.split()[-1]})'):
        read_detections(path, 30)


def test_every_line_too_short(file):
    with pytest.raises(ValueError, match='must be seven .*1 to 30'):
        read_detections(file('1 2 3\n4 5 6\n'), 30)


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
