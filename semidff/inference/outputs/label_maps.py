"""Label maps of semantic segmentation as png files."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from semidff.utils.atomic_write import atomic_path
from semidff.utils.file_names import unique_name
from semidff.utils.tool_files import FileError, check_new

from .base import Output, Result


class LabelMaps(Output):
    """Write the class number of each pixel: ``<folder>/<video>/000000.png``, in the size of the frame.

    An error in the block of a ``with`` statement removes what was written. Without one, label maps of an earlier run
    that were not replaced are removed.

    Raises:
        FileError: If there are label maps of an earlier run, unless existing files may be replaced.
    """

    def __init__(self, folder: str | Path) -> None:
        self._root, self._names = Path(folder), set()
        self._frames: dict[Path, set[str]] = {}  # names of the files written in each folder

    def __enter__(self) -> 'LabelMaps':
        return self

    def __exit__(self, *error: object) -> None:
        failed = error[0] is not None
        for folder, written in self._frames.items():
            for file in _numbered(folder):
                if (file.name in written) == failed:
                    file.unlink()

    def start(self, name: str, fps: float | None) -> None:
        self._folder = self._root / unique_name(name, self._names)
        for file in _numbered(self._folder):
            check_new(file)

    def add(self, result: Result) -> None:
        labels = result.sample.pred_sem_seg.data[0].cpu().numpy()
        check_new(file := self._folder / f'{result.frame.index:06d}.png')
        with atomic_path(file) as path:
            Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(path)
        self._frames.setdefault(self._folder, set()).add(file.name)


def _numbered(folder: Path) -> list[Path]:
    return [file for file in folder.glob('*.png') if re.fullmatch(r'\d{6,}', file.stem)]


def check_label_folder(folder: str | Path, inputs: Iterable[str | None]) -> None:
    """Check that label maps, which get a folder for each video, are not written among its frames.

    Args:
        folder: Folder of the label maps.
        inputs: Video files or folders of frames; None for other inputs.

    Raises:
        FileError: If they would be.
    """
    for path in filter(None, inputs):
        if os.path.isdir(path) and Path(path).resolve().parent == Path(folder).resolve():
            raise FileError(
                f'{folder}: the label maps of {path} would be written among its frames; give another folder'
            )
