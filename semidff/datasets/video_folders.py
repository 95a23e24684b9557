"""Videos in folders and globs."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from semidff.utils.logs import log_warning

from .video_readers import VideoError, VideoFile, natural_key
from .video_readers.base import is_image, is_video

_STILLS = frozenset({'.avif', '.heic', '.heif'})  # images in the container of videos


def is_archive(path: str | Path) -> bool:
    """Return whether a path is a folder of videos; a folder of images alone is a video itself."""
    if not os.path.isdir(path):
        return False
    names = os.listdir(path)
    return any(map(is_video, names)) or not any(map(is_image, names))


def list_videos(
    entries: Sequence[str], root: str | Path = '', own: str | Path | None = None
) -> tuple[list[str], list[VideoError]]:
    """Return the paths of the videos that entries name, and the folders and globs without videos.

    A video with several names, such as links, is returned once, under its first name.

    Args:
        entries: Video files, folders of frames, folders of videos, and globs of these, whose
            matches are sorted.
        root: Where relative paths start.
        own: As in :func:`find_videos`.
    """
    found: list[str] = []
    missing: list[VideoError] = []
    for entry in map(os.path.expanduser, entries):
        paths = [os.path.join(root, entry)]
        if glob.has_magic(entry) and not os.path.exists(paths[0]):
            # The root may have brackets, too.
            matches = sorted(glob.glob(entry, root_dir=root, recursive=True), key=natural_key)
            if not matches:
                missing.append(VideoError(paths[0], 'the glob matches nothing'))
            paths = [os.path.join(root, match) for match in matches]
        for path in paths:
            if not is_archive(path):
                found.append(path)
                continue
            try:
                found += [os.path.join(path, video) for video in find_videos(path, own)]
            except VideoError as error:
                missing.append(error)
    spellings: dict[str, str] = {}
    for path in found:
        spellings.setdefault(os.path.realpath(path), path)
    return list(spellings.values()), missing


def find_videos(folder: str | Path, own: str | Path | None = None) -> list[Path]:
    """Return the videos in a folder and its sub-folders, relative to it, in natural order.

    They are files with the suffix of a video, other files that FFmpeg opens as videos, and
    sub-folders with images, which are frames. Linked folders are searched after all others; none is
    searched twice. Hidden files and folders, images and ``own``, the folder of the results, are
    left out; other files that are no videos and folders that cannot be read are logged.
    """
    found: list[Path] = []
    others: list[Path] = []
    unread: list[str] = []
    tops, seen = [os.fspath(folder)], set() if own is None else {os.path.realpath(own)}
    for top in tops:  # links are added meanwhile
        for place, folders, files in os.walk(top, onerror=lambda e: unread.append(e.filename)):
            real = os.path.realpath(place)
            names = sorted(n for n in folders if real not in seen and not n.startswith('.'))
            folders[:] = [name for name in names if not os.path.islink(os.path.join(place, name))]
            if real in seen:
                continue
            seen.add(real)
            tops += [os.path.join(place, name) for name in names if name not in folders]
            here = Path(place).relative_to(folder)
            if here != Path() and any(map(is_image, files)):
                found.append(here)
            for name in files:
                if name.startswith('.') or is_image(name):
                    continue
                is_found = is_video(name) or _opens(os.path.join(place, name))
                (found if is_found else others).append(here / name)
    for left, why in ((others, 'files are no videos'), (unread, 'folders cannot be read')):
        if left:
            log_warning(f'{folder}: {len(left)} {why}: {list(map(str, left[:10]))}')
    if not found:
        raise VideoError(folder, 'the folder and its sub-folders hold no videos')
    return sorted(found, key=lambda path: natural_key(str(path)))


def _opens(path: str) -> bool:
    if Path(path).suffix.lower() in _STILLS:
        return False
    try:
        VideoFile(path).close()
    except VideoError:
        return False
    return True
