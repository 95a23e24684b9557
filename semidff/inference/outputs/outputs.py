"""Files of results, written while the videos run; they appear when they are complete."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TextIO

import cv2
import numpy as np
from mmdet.structures import DetDataSample

from semidff.datasets.ilsvrc_format import detection_lines
from semidff.datasets.video_readers.stream import DEFAULT_FPS
from semidff.utils.atomic_write import atomic_write
from semidff.utils.video_writer import VideoWriter

from .detections_json import detections_json
from .result import Result


class Output(Protocol):
    """Something that takes results, video by video."""

    def start(self, name: str, fps: float | None) -> None:
        """Begins a video."""

    def add(self, result: Result) -> None:
        """Takes the next frame of it."""

    def end(self) -> None:
        """Ends it."""


class TextOutput:
    """Detections in ILSVRC's format; frames are numbered from 1, through all videos."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def start(self, name: str, fps: float | None) -> None:
        """See :class:`Output`."""

    def add(self, result: Result) -> None:
        """See :class:`Output`."""
        self._file.writelines(detection_lines(result.number, *result.detections()))

    def end(self) -> None:
        """See :class:`Output`."""


class VideoOutput:
    """An annotated mp4 file, or one for each video.

    A frame of another size than the video's first is scaled to fit, with black bars.

    Args:
        path (Path): The file; a folder if it has no suffix.
        draw (Callable): Makes the picture of a frame (H, W, 3) and its result.
    """

    def __init__(self, path: Path, draw: Callable[[np.ndarray, DetDataSample], np.ndarray]) -> None:
        self.path, self.draw = path, draw
        self._writer: VideoWriter | None = None
        self._used: set[str] = set()

    def start(self, name: str, fps: float | None) -> None:
        """See :class:`Output`."""
        path = self.path if self.path.suffix else self.path / f'{self._unused(name)}.mp4'
        self._writer, self._size = VideoWriter(path, fps or DEFAULT_FPS), None

    def add(self, result: Result) -> None:
        """See :class:`Output`."""
        picture = self.draw(result.frame.image, result.sample)
        self._size = self._size or picture.shape[:2]
        self._writer.write(_fitted(picture, self._size))

    def end(self, keep: bool = True) -> None:
        """See :class:`Output`; with ``keep=False`` the unfinished file is removed."""
        if self._writer is not None:
            self._writer.close(keep)
            self._writer = None

    def _unused(self, name: str) -> str:
        """A name that no other video has."""
        names = (f'{name}_{n}' if n else name for n in range(len(self._used) + 1))
        self._used.add(chosen := next(one for one in names if one not in self._used))
        return chosen


@contextmanager
def _video_output(path: Path, draw: Callable) -> Iterator[VideoOutput]:
    output = VideoOutput(path, draw)
    try:
        yield output
    except BaseException:
        output.end(keep=False)
        raise
    output.end()


@contextmanager
def open_outputs(
    classes: Sequence[str],
    draw: Callable[[np.ndarray, DetDataSample], np.ndarray],
    out_video: str | Path | None = None,
    out_json: str | Path | None = None,
    out_txt: str | Path | None = None,
) -> Iterator[list[Output]]:
    """Opens what is asked for. An error in the block leaves no unfinished file behind.

    Args:
        classes: Class names.
        draw: Makes the picture of a frame (H, W, 3) and its result.
        out_video: An annotated mp4; a name without suffix is a folder of them.
        out_json: COCO-VID json, see :class:`~semidff.inference.outputs.detections_json.DetectionsJson`.
        out_txt: Detections in ILSVRC's format.
    """
    with ExitStack() as stack:
        outputs: list[Output] = []
        if out_video is not None:
            outputs.append(stack.enter_context(_video_output(Path(out_video), draw)))
        if out_json is not None:
            outputs.append(stack.enter_context(detections_json(out_json, classes)))
        if out_txt is not None:
            outputs.append(TextOutput(stack.enter_context(atomic_write(out_txt))))
        yield outputs


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture scaled into (height, width), its sides in proportion, black around it."""
    if picture.shape[:2] == size:
        return picture
    height, width = picture.shape[:2]
    factor = min(size[0] / height, size[1] / width)
    height, width = max(round(height * factor), 1), max(round(width * factor), 1)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    canvas = np.zeros((*size, 3), np.uint8)
    canvas[top : top + height, left : left + width] = cv2.resize(picture, (width, height))
    return canvas
