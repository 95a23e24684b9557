"""What can be given as a video."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import ArrayStream, FrameStream, open_stream
from .read_ahead import READ_AHEAD
from .stream import DEFAULT_FPS


class Source(NamedTuple):
    """A video that can be opened.

    Attributes:
        open: Opens it.
        path: The video file, if it is one.
        depth: How many frames are read ahead where nothing else is asked for: some of files and of what is in
            memory, none of cameras and iterators, for which it matters when they are read.
    """

    open: Callable[[], FrameStream]
    path: str | None = None
    depth: int = 0


def sources_of(inputs: Any, fps: float | None = None, strict: bool = False) -> list[Source]:
    """The videos that somebody gives.

    Paths are opened once, to see that every one of them can be.

    Args:
        inputs: A path, a camera's index, an address, an iterable of arrays (one video), or a list or
            tuple of any of them (several videos).
        fps (float | None): Frames per second of videos that do not tell theirs.
        strict (bool): Whether what cannot be read is an error, not a warning.

    Raises:
        VideoError: A path cannot be opened.
        TypeError: It is no video.
    """
    if isinstance(inputs, list | tuple) and not _is_one_video(inputs):
        return [
            _source(one, fps or DEFAULT_FPS, strict, number) for number, one in enumerate(inputs)
        ]
    return [_source(inputs, fps or DEFAULT_FPS, strict)]


def _is_one_video(inputs: list | tuple) -> bool:
    """Whether a list holds frames, not videos; an empty one is a video without frames."""
    return not inputs or (isinstance(inputs[0], np.ndarray) and inputs[0].ndim < 4)


def _source(given: Any, fps: float, strict: bool, number: int = 0) -> Source:
    if isinstance(given, bool) or given is None:
        raise TypeError(f'{given!r} is no video; {_WANTED}')
    if isinstance(given, int) or '://' in str(given)[:16]:
        return Source(lambda: open_stream(given, fps, strict))
    if isinstance(given, str | os.PathLike):
        open_stream(given, fps, strict).close()
        path = str(given) if os.path.isfile(given) else None
        return Source(lambda: open_stream(Path(given), fps, strict), path, depth=READ_AHEAD)
    if not isinstance(given, Iterable) or (isinstance(given, np.ndarray) and given.ndim < 4):
        raise TypeError(f'a single {type(given).__name__} is no video; {_WANTED}')
    name = f'frames{number}' if number else 'frames'
    depth = READ_AHEAD if isinstance(given, list | tuple | np.ndarray) else 0
    return Source(lambda: ArrayStream(given, name, fps), depth=depth)


def check_numbers(max_frames: int | None, fps: float | None) -> None:
    """Raises ValueError if there can be no such number of frames, or frame rate."""
    if max_frames is not None and max_frames < 1:
        raise ValueError(f'max_frames is {max_frames}; it must be at least 1')
    if fps is not None and not fps > 0:
        raise ValueError(f'fps is {fps}; it must be above 0')


def check_out_video(out_video: str | Path | None, sources: list[Source]) -> None:
    """Raises ValueError if ``out_video`` is no name for the annotated videos of ``sources``."""
    if out_video is None:
        return
    suffix = Path(out_video).suffix
    if len(sources) > 1 and suffix:
        raise ValueError(
            f'{out_video}: {len(sources)} videos need a folder; give a name without suffix'
        )
    if suffix not in ('', '.mp4'):
        raise ValueError(f'{out_video}: only .mp4 files are written; give a name that ends in .mp4')
    out = Path(out_video).resolve()
    for source in sources:
        path = Path(source.path or '').resolve()
        if source.path and out == (path if suffix else path.parent):
            raise ValueError(f'{out_video}: would overwrite the input; give another name')


_WANTED = (
    'give the path of a video file or of a folder of frames, the index of a camera, a list or an '
    'iterator of arrays (H, W, 3), or a list of them'
)
