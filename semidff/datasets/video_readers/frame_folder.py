"""Images, and folders of images, one per frame."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from .base import (
    DEFAULT_FPS,
    Frame,
    VideoError,
    VideoReader,
    as_video_error,
    is_image,
    is_video,
    report,
)


class FrameFolder(VideoReader):
    """Images, one per frame, in natural order of their names (``9.jpg``, ``10.jpg``): those of a
    folder, or those of a glob or pattern, see :func:`matching_files`.

    In sequential access, an unreadable image is left out with a warning; with ``strict`` it is an
    error.
    """

    def __init__(self, path: str | Path, fps: float = DEFAULT_FPS, strict: bool = False) -> None:
        self.path, self.fps, self.strict = str(path), fps, strict
        folder = Path(os.path.abspath(path))
        if folder.is_dir():
            names = sorted(os.listdir(folder), key=natural_key)
            files = [os.path.join(path, name) for name in names]
        else:
            files, folder = matching_files(path), folder.parent
        self.name, self.files = folder.name, [file for file in files if is_image(file)]
        if not self.files:
            suffixes = sorted({Path(file).suffix for file in files if is_video(Path(file).name)})
            globs = [f"'{glob.escape(self.path)}/*{suffix}'" for suffix in suffixes]
            hint = f'; for its videos, give {" or ".join(globs)}' if globs else ''
            raise VideoError(self.path, f'holds no images{hint}')
        self.length = len(self.files)

    def __len__(self) -> int:
        return self.length

    @cached_property
    def size(self) -> tuple[int, int]:
        return read_image(self.files[0]).shape[:2]

    def _read(self, wanted: list[int]) -> list[np.ndarray]:
        images = [read_image(self.files[index]) for index in wanted]
        for index, image in zip(wanted, images, strict=True):
            size, first = image.shape, images[0].shape
            if size != first:
                reason = f'is {size[1]}x{size[0]}, other frames are {first[1]}x{first[0]}'
                raise VideoError(self.files[index], reason)
        return images

    def __iter__(self) -> Iterator[Frame]:
        last = None
        for index, file in enumerate(self.files):
            try:
                image = read_image(file)
            except VideoError as error:
                report(file, f'{error.reason}; frame {index} is left out', self.strict)
                continue
            is_long, lost = self._lost_since(last, index)
            last = index
            yield Frame(image, index, index / self.fps, file, is_long or None, lost)
        if last is None:
            raise VideoError(self.path, f'none of its {self.length} images can be read')


def matching_files(path: str | Path) -> list[str]:
    """Return the files that a glob (``*.png``) matches, or that a pattern of FFmpeg (``%d.png``,
    ``%06d.png``) numbers.

    They are in natural order.
    """
    text = os.path.expanduser(path)
    if pattern := re.fullmatch(r'(.*)%(?:0(\d+))?d(.*)', text):
        head, digits, tail = pattern.groups()
        numbered = re.escape(head) + rf'\d{{{digits or 1},}}' + re.escape(tail)
        found = glob.glob(f'{glob.escape(head)}*{glob.escape(tail)}')
        found = [file for file in found if re.fullmatch(numbered, file)]
    else:
        found = glob.glob(text, recursive=True) if glob.has_magic(text) else []
    return sorted(found, key=natural_key)


def read_image(path: str) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 BGR, upright; VideoError if it cannot be read."""
    with as_video_error(path, 'cannot read the image'):
        data = Path(path).read_bytes()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise VideoError(path, f'corrupt, truncated or not an image ({len(data)} bytes)')
    return image


@contextmanager
def naming_images(paths: Sequence[str]) -> Iterator[None]:
    """Turn an error of OpenCV into one that names the unreadable image."""
    try:
        yield
    except cv2.error:
        for path in paths:
            read_image(path)
        raise


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key that orders numbers inside names by value."""
    parts = re.split(r'(\d+)', name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]
