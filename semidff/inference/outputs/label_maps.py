"""Label maps of semantic segmentation as png files."""

from pathlib import Path

import numpy as np
from PIL import Image

from semidff.utils.atomic_write import atomic_path
from semidff.utils.file_names import unique_name
from semidff.utils.tool_files import check_new

from .base import Output, Result


class LabelMaps(Output):
    """Write the class number of each pixel: ``<folder>/<video>/000000.png``, in the size of the frame."""

    def __init__(self, folder: str | Path) -> None:
        self._root, self._names = Path(folder), set()

    def start(self, name: str, fps: float | None) -> None:
        self._folder = self._root / unique_name(name, self._names)

    def add(self, result: Result) -> None:
        labels = result.sample.pred_sem_seg.data[0].cpu().numpy()
        check_new(file := self._folder / f'{result.frame.index:06d}.png')
        with atomic_path(file) as path:
            Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(path)
