"""Annotated videos."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
from mmdet.structures import DetDataSample

from semidff.datasets.video_readers.stream import DEFAULT_FPS
from semidff.utils.file_names import unique_name
from semidff.utils.tool_files import OutputVideo, check_new, check_outputs
from semidff.utils.video_writer import VideoWriter

from .base import Output, Result

Draw = Callable[[np.ndarray, DetDataSample], np.ndarray]


class VideoOutput(Output, AbstractContextManager):
    """Render results into mp4 files.

    Frames that differ in size from the video's first are scaled to fit, with black bars. Used as a context
    manager, it removes the unfinished file if the block raises.

    Args:
        path: The mp4 file; without the suffix .mp4 a folder with a file for each video.
        draw: Returns the picture of a frame (H, W, 3) uint8 BGR and its result.
        fps: Frame rate of videos whose own rate is unknown.
        max_videos: Number of videos that are rendered; None: all.
        rate: Frame rate of the mp4 files in place of the videos'.
    """

    def __init__(
        self,
        path: str | Path,
        draw: Draw,
        fps: float = DEFAULT_FPS,
        max_videos: int | None = None,
        rate: float | None = None,
    ) -> None:
        self.path, self.draw = Path(path), draw
        self.fps, self.max_videos, self.rate = fps, max_videos, rate
        self._writer: VideoWriter | None = None
        self._size: tuple[int, int] | None = None
        self._names: set[str] = set()

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(*error)
            self._writer = None

    def start(self, name: str, fps: float | None = None) -> None:
        """Begin a video and end the one before; slashes in names become underscores."""
        self.end()
        if self.max_videos is not None and len(self._names) >= self.max_videos:
            return
        name = unique_name(name, self._names)
        path = self.path if self.path.suffix == '.mp4' else self.path / f'{name}.mp4'
        if path != self.path:
            check_new(path)
        self._writer, self._size = VideoWriter(path, self.rate or fps or self.fps), None

    def add(self, result: Result) -> None:
        self.render(result.sample, result.frame.image)

    def render(self, sample: DetDataSample, image: np.ndarray | None = None) -> None:
        """Draw the next frame.

        Args:
            sample: Its result.
            image: The frame (H, W, 3) uint8 BGR; None: read from the sample's ``img_path``.

        Raises:
            OSError: The image cannot be read.
        """
        if self._writer is None:
            return
        if image is None:
            # upright by its EXIF orientation, as the test pipeline reads it
            image = cv2.imread(sample.img_path)
        if image is None:
            raise OSError(f'{sample.img_path}: cannot be read as an image to draw on')
        picture = self.draw(image, sample)
        height, width = picture.shape[:2]
        size = self._size = self._size or (height, width)
        if (height, width) != size:  # scale it to fit, black around it
            factor = min(size[0] / height, size[1] / width)
            height, width = max(round(height * factor), 1), max(round(width * factor), 1)
            top, left = (size[0] - height) // 2, (size[1] - width) // 2
            canvas = np.zeros((*size, 3), np.uint8)
            canvas[top : top + height, left : left + width] = cv2.resize(picture, (width, height))
            picture = canvas
        self._writer.write(picture)

    def end(self) -> None:
        self.__exit__(None, None, None)


def check_out_video(path: str | Path | None, inputs: Sequence[str | None]) -> None:
    """Check the name of annotated videos.

    Args:
        path: The mp4 file or folder; None: no annotated videos.
        inputs: The files or folders of the input videos; None for others.

    Raises:
        ValueError: The name does not fit the number of videos or would overwrite one of them.
    """
    if path is None:
        return
    suffix = Path(path).suffix
    if len(inputs) > 1 and suffix:
        raise ValueError(f'{path}: {len(inputs)} videos need a folder; give a name without suffix')
    if suffix not in ('', '.mp4'):
        raise ValueError(f'{path}: only .mp4 files are written; give a name that ends in .mp4')
    files = [file for file in inputs if file and os.path.isfile(file)]
    names = [name for file in files for name in (file, os.path.realpath(file))]
    folders = [Path(name).parent for name in names if not suffix]
    check_outputs([OutputVideo(path)], folders)
