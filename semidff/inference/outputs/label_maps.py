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
        self._frames: dict[Path, int] = {}  # written in each folder
        self._old: set[Path] = set()  # files of an earlier run that were not replaced

    def __enter__(self) -> 'LabelMaps':
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            left = (file for file in self._old if file.parent in self._frames)
        else:
            written = (_file(folder, i) for folder, n in self._frames.items() for i in range(n))
            left = (file for file in written if file not in self._old)
        for file in left:
            file.unlink(missing_ok=True)

    def start(self, name: str, fps: float | None) -> None:
        self._folder = self._root / unique_name(name, self._names)
        for file in self._folder.glob('*.png'):
            if re.fullmatch(r'\d{6,}', file.stem):
                check_new(file)
                self._old.add(file)

    def add(self, result: Result) -> None:
        labels = result.sample.pred_sem_seg.data[0].cpu().numpy()
        check_new(file := _file(self._folder, result.frame.index))
        with atomic_path(file) as path:
            Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(path)
        self._old.discard(file)
        self._frames[self._folder] = result.frame.index + 1


def _file(folder: Path, index: int) -> Path:
    return folder / f'{index:06d}.png'


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
