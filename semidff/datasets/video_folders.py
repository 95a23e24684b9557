"""Videos in folders."""

import os
from pathlib import Path

from .video_readers import VideoError, natural_key
from .video_readers.base import is_image

VIDEO_SUFFIXES = frozenset({
    '.3gp', '.avi', '.flv', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts', '.ts', '.webm', '.wmv',
})  # fmt: skip


def is_archive(path: str | Path) -> bool:
    """Return whether a path is a folder of videos. One with images and without video files is a video itself."""
    names = os.listdir(path) if os.path.isdir(path) else ()
    return os.path.isdir(path) and (any(map(_is_video, names)) or not any(map(is_image, names)))


def find_videos(folder: str | Path) -> list[Path]:
    """Return the videos in a folder and its sub-folders, relative to it, in natural order.

    They are files with the suffix of a video, and sub-folders with images, which are frames. Links are followed. Hidden
    files and folders are left out.

    Raises:
        VideoError: If there is none, or a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise VideoError(str(error.filename), f'the folder cannot be read ({error.strerror})')

    found, seen = [], set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        # A link may lead to a folder around it.
        folders[:] = sorted(n for n in folders if real not in seen and not n.startswith('.'))
        if real in seen:
            continue
        seen.add(real)
        here = Path(place).relative_to(folder)
        if here != Path() and any(map(is_image, files)):
            found.append(here)
        found += [here / name for name in files if _is_video(name)]
    if not found:
        raise VideoError(str(folder), 'the folder and its sub-folders hold no videos')
    return sorted(found, key=lambda path: natural_key(str(path)))


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith('.')
