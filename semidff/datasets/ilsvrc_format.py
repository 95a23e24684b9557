"""Reader and writer of detections in the text format of ILSVRC submissions.

A line is ``frame_id class score x1 y1 x2 y2``; class numbers start at 1.
"""

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from semidff.utils.atomic_write import atomic_write


def read_detections(path: str | Path, num_classes: int) -> np.ndarray:
    """Read the columns of a detections file, (n, 7) float; boxes in the original image's pixels."""
    with open(path, encoding='utf-8', errors='replace') as file, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of files without lines
        try:
            table = np.loadtxt(file, comments=None, ndmin=2)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error
    table = table if table.size else np.empty((0, 7))
    valid = np.full(len(table), table.shape[1] == 7)
    if valid.all():
        whole = (table[:, :2] == np.floor(table[:, :2])).all(axis=1)
        known = (table[:, 1] >= 1) & (table[:, 1] <= num_classes)
        valid = np.isfinite(table).all(axis=1) & whole & known
    if not valid.all():
        raise ValueError(
            f'{path}: lines must be seven finite numbers "frame_id class score x1 y1 x2 y2", with '
            f'whole frame_id and class, the class 1 to {num_classes}; first wrong: '
            f'{table[valid.argmin()].tolist()}'
        )
    return table


def detection_lines(
    frame_id: int, labels: np.ndarray, scores: np.ndarray, boxes: np.ndarray
) -> list[str]:
    """Return the lines of a frame; labels (n,) start at 0. Nine digits restore float32 exactly."""
    rows = zip(labels.tolist(), scores.tolist(), boxes.tolist(), strict=True)
    return [
        f'{frame_id} {label + 1} {score:.9g} {x1:.9g} {y1:.9g} {x2:.9g} {y2:.9g}\n'
        for label, score, (x1, y1, x2, y2) in rows
    ]


def write_detections(path: str | Path, frames: Iterable[tuple]) -> None:
    """Write a detections file atomically; frames are arguments of :func:`detection_lines`."""
    with atomic_write(path) as file:
        for frame in frames:
            file.writelines(detection_lines(*frame))
