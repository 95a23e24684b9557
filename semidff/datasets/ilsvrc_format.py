"""Reader and writer of detections in the text format of ILSVRC submissions.

A line is ``frame_id class score x1 y1 x2 y2``; class numbers start at 1.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from semidff.utils.atomic_write import atomic_write


def read_detections(path: str | Path, num_classes: int) -> np.ndarray:
    """Read a detections file.

    Args:
        num_classes: Largest valid class number.

    Returns:
        (n, 7) float: the columns of the lines; the box in pixels of the original image.
    """
    with open(path, encoding='utf-8', errors='replace') as file:
        lines = (line for line in file if not line.isspace())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of files without lines
                table = np.loadtxt(lines, comments=None, ndmin=2)
            table = table if table.size else np.empty((0, 7))
            if _valid(table, num_classes).all():
                return table
        except ValueError:
            pass
        file.seek(0)
        number, line = next(
            numbered for numbered in enumerate(file, 1) if not _is_valid(numbered[1], num_classes)
        )
    raise ValueError(
        f'{path}, line {number}: must be seven finite numbers "frame_id class score x1 y1 x2 y2", with whole frame_id '
        f'and class, the class 1 to {num_classes}: {line.strip()!r}'
    )


def _is_valid(line: str, num_classes: int) -> bool:
    try:
        return line.isspace() or bool(_valid(np.float64([line.split()]), num_classes))
    except ValueError:
        return False


def _valid(table: np.ndarray, num_classes: int) -> np.ndarray:
    """Return which rows are valid detections, (n, 7) -> (n,) bool."""
    if table.shape[1] != 7:
        raise ValueError
    whole = (table[:, :2] == np.floor(table[:, :2])).all(axis=1)
    known = (table[:, 1] >= 1) & (table[:, 1] <= num_classes)
    return np.isfinite(table).all(axis=1) & whole & known


def detection_lines(
    frame_id: int, labels: np.ndarray, scores: np.ndarray, boxes: np.ndarray
) -> list[str]:
    """Return the lines of a frame, with nine digits, so that float32 values are restored exactly.

    Args:
        labels: (n,), from 0, like scores (n,) and boxes (n, 4).
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
