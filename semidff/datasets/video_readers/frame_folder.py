"""Random-access reader of a folder of images."""

import io
import os
import re
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from semidff.utils.tool_files import FileError, check_regular

from .base import VideoError, VideoReader, is_image

_JPEG_END = b'\xff\xd9'
MAX_PIXELS = 1 << 27
"""Largest image that is decoded: 134 million pixels, 400 MB."""


class FrameFolderReader(VideoReader):
    """Folder with one image per frame, in natural order of their names (``9.jpg``, ``10.jpg``).

    Raises:
        VideoError: If the folder is missing or holds no images.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        if not os.path.isdir(self.path):
            raise VideoError(self.path, 'no such folder')
        names = [entry.name for entry in os.scandir(self.path) if is_image(entry.name)]
        if not names:
            raise VideoError(
                self.path, "the folder holds no images (to list its videos, write 'folder/*.mp4')"
            )
        self.files = [os.path.join(self.path, name) for name in sorted(names, key=natural_key)]

    def __len__(self) -> int:
        return len(self.files)

    def _read(self, wanted: list[int]) -> list[np.ndarray]:
        images = [read_image(self.files[index]) for index in wanted]
        for index, image in zip(wanted, images, strict=True):
            size, first = image.shape, images[0].shape
            if size != first:
                reason = f'is {size[1]}x{size[0]}, other frames are {first[1]}x{first[0]}'
                raise VideoError(self.files[index], reason)
        return images


def read_image(path: str) -> np.ndarray:
    """Read an image as (H, W, 3) uint8 BGR; refuse truncated JPEG files, unlike ``cv2.imread``.

    Raises:
        VideoError: If the file is missing, not an image or truncated.
    """
    try:
        check_regular(path)
        data = Path(path).read_bytes()
        check_pixels(path, io.BytesIO(data))
    except FileError as error:
        raise VideoError(path, str(error).removeprefix(f'{path}: ')) from None
    except OSError as error:
        raise VideoError(path, f'cannot read the image ({error.strerror})') from None
    # OpenCV fills missing parts with gray and only warns.
    if data.startswith(b'\xff\xd8') and _JPEG_END not in data[-4096:]:
        raise VideoError(path, f'truncated JPEG ({len(data)} bytes, no end marker)')
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise VideoError(path, f'corrupt or not an image ({len(data)} bytes)')
    return image


def check_image(path: str) -> None:
    """Check an image that another function will read; addresses are not checked.

    Raises:
        FileError: If it is a pipe, socket or device.
        VideoError: If it is empty or has too many pixels.
    """
    if '://' not in path:
        check_regular(path)
        if os.path.isfile(path) and not os.path.getsize(path):
            raise VideoError(path, 'the file is empty (0 bytes)')
        check_pixels(path, path)


def check_pixels(path: str, source: str | BinaryIO) -> None:
    """Raise :class:`VideoError` for an image with too many pixels, by its header.

    Args:
        path: Its name, for the message.
        source: The file or its content.
    """
    limit = int(os.environ.get('SEMIDFF_MAX_PIXELS', MAX_PIXELS))
    try:
        with Image.open(source) as image:
            pixels = image.width * image.height
    except Image.DecompressionBombError as error:
        pixels = int(re.findall(r'\d+', str(error))[0])
    except Exception:
        return  # not known to Pillow; OpenCV decides
    if pixels > limit:
        raise VideoError(
            path,
            f'has {pixels} pixels, more than {limit}; set the environment variable '
            'SEMIDFF_MAX_PIXELS to allow it',
        )


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key that orders numbers inside names by value."""
    parts = re.split(r'(\d+)', name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]
