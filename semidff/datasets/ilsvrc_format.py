"""Reader and writer of detections in the text format of ILSVRC submissions.

A line is ``frame_id class score x1 y1 x2 y2``; class numbers start at 1.
"""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np

from semidff.utils.atomic_write import atomic_write

_LINES_AT_ONCE = 500_000
_COLUMNS = 'frame_id class score x1 y1 x2 y2'


def read_detections(path: str | Path, num_classes: int) -> np.ndarray:
    """Read a detections file.

    Args:
        num_classes: Largest valid class number.

    Returns:
        (n, 7) float: the columns of the lines; the box in pixels of the original image.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is broken; the message has its number and text.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'detections file {str(path)!r} does not exist')
    tables, start = [np.empty((0, 7))], 1
    with open(path, encoding='utf-8', errors='replace') as file:
        while lines := list(islice(file, _LINES_AT_ONCE)):
            filled = [line for line in lines if not line.isspace()]
            try:
                table = np.loadtxt(filled, comments=None, ndmin=2) if filled else tables[0]
            except ValueError:
                table = None
            if table is None or table.shape[1] != 7 or not _valid(table, num_classes).all():
                for number, line in enumerate(lines, start):
                    _check_line(line, number, path, num_classes)
            tables.append(table)
            start += len(lines)
    return np.concatenate(tables)


def _valid(table: np.ndarray, num_classes: int) -> np.ndarray:
    """Return which rows are valid detections, (n, 7) -> (n,) bool."""
    whole = (table[:, :2] == np.floor(table[:, :2])).all(axis=1)
    known = (table[:, 1] >= 1) & (table[:, 1] <= num_classes)
    return np.isfinite(table).all(axis=1) & whole & known


def _check_line(line: str, number: int, path: str | Path, num_classes: int) -> None:
    where = f'{path}, line {number}: '
    words = line.split()
    if not words:
        return
    if len(words) != 7:
        raise ValueError(
            f'{where}expected 7 numbers "{_COLUMNS}", got {len(words)}: {line.strip()!r}'
        )
    try:
        row = np.array([[float(word) for word in words]])
    except ValueError:
        raise ValueError(f'{where}not all of "{_COLUMNS}" are numbers: {line.strip()!r}') from None
    if not _valid(row, num_classes)[0]:
        raise ValueError(
            f'{where}frame_id and class must be whole numbers, the class 1 to {num_classes}, and '
            f'everything finite: {line.strip()!r}'
        )


def detection_lines(
    frame_id: int, labels: np.ndarray, scores: np.ndarray, boxes: np.ndarray
) -> list[str]:
    """Return the lines of a frame, with nine digits, so that float32 values are restored exactly.

    Args:
        labels: Labels from 0, (n,).
        scores: (n,).
        boxes: (n, 4).
    """
    rows = zip(labels.tolist(), scores.tolist(), boxes.tolist(), strict=True)
    return [
        f'{frame_id} {label + 1} {score:.9g} {x1:.9g} {y1:.9g} {x2:.9g} {y2:.9g}\n'
        for label, score, (x1, y1, x2, y2) in rows
    ]


def write_detections(path: str | Path, frames: Iterable[tuple]) -> None:
    """Write a detections file atomically; ``frames`` are the arguments of :func:`detection_lines` of each frame."""
    with atomic_write(path) as file:
        for frame in frames:
            file.writelines(detection_lines(*frame))
