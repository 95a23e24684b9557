"""The list of unlabeled videos: a text file, each line a video file, a folder of frames or a glob.

Blank lines and what follows a ``#`` at a line's start or after white space are ignored. What cannot
be opened is left out, counted and named in the log.
"""

import glob
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log

from .video_readers import VideoError, VideoReader, natural_key, open_video

_NAMED = 10  # files named in one message; a list of thousands must stay readable


class VideoListError(ValueError):
    """The list of videos is missing, empty, or nothing in it can be read."""


@dataclass(frozen=True)
class VideoInfo:
    """A video that could be opened.

    Attributes:
        path (str): File or folder.
        name (str): Its path below the list's root, for logs and metainfo.
        length (int): Number of frames, at least 2.
        height (int): Height of its first frame in pixels.
        width (int): Width of its first frame in pixels.
    """

    path: str
    name: str
    length: int
    height: int
    width: int


def load_videos(
    ann_file: str | Path, data_prefix: str | Path | None = None, threads: int | None = None
) -> list[VideoInfo]:
    """Reads a list and opens every video of it once.

    Args:
        ann_file (str | Path): The list.
        data_prefix (str | Path, optional): Folder that the lines are relative to; by default the
            list's own.
        threads (int, optional): Videos opened at a time; by default twice the processors.

    Returns:
        list[VideoInfo]: The readable videos, in the list's order.

    Raises:
        VideoListError: No list, an empty list, or nothing readable in it.
    """
    root = Path(data_prefix) if data_prefix else Path(ann_file).parent
    paths, missing = expand_list(ann_file, root)
    videos, broken = probe_videos(paths, root, threads)
    failures = missing + broken
    total = len(paths) + len(missing)
    if not videos:
        raise VideoListError(
            f'{ann_file}: none of its {total} entries can be used as a video '
            f'(relative paths start at {root.resolve()}):\n{_named(failures)}\n'
            'Each line must be a video file, a folder of images or a glob; see that the paths are '
            'right and that a player opens the files.'
        )
    if failures:
        print_log(
            f'{ann_file}: {len(failures)} of {total} entries are skipped:\n{_named(failures)}',
            logger='current',
            level=logging.WARNING,
        )
    frames = sum(video.length for video in videos)
    print_log(f'{ann_file}: {len(videos)} videos, {frames} frames', logger='current')
    return videos


def read_lines(ann_file: str | Path) -> list[str]:
    """The entries of a list, without comments and blank lines.

    Raises:
        VideoListError: The file is missing, not text, or has no entries.
    """
    try:
        text = Path(ann_file).read_text(encoding='utf-8-sig')
    except FileNotFoundError:
        raise VideoListError(
            f'{ann_file}: no such list of videos. Write a text file with a video file, a folder of '
            'frames or a glob (videos/*.mp4) on each line, and give its path as ann_file.'
        ) from None
    except IsADirectoryError:
        raise VideoListError(
            f"{ann_file}: is a folder, the list must be a text file; for a folder's videos let it "
            "hold the line '*.mp4'."
        ) from None
    except UnicodeDecodeError:
        raise VideoListError(
            f'{ann_file}: is not a text file (UTF-8). The list names videos, it is not a video.'
        ) from None
    lines = [re.sub(r'(^|\s)#.*', '', line).strip() for line in text.splitlines()]
    entries = [line for line in lines if line]
    if not entries:
        raise VideoListError(
            f'{ann_file}: the list is empty. Write a video file, a folder of frames or a glob '
            '(videos/*.mp4) on each line.'
        )
    return entries


def expand_list(ann_file: str | Path, root: Path) -> tuple[list[str], list[VideoError]]:
    """Paths that a list names, each once, globs in natural order; and the globs without a match."""
    paths: list[str] = []
    missing: list[VideoError] = []
    for entry in read_lines(ann_file):
        path = str(root / os.path.expanduser(entry))
        if os.path.exists(path) or not glob.has_magic(path):
            paths.append(path)
            continue
        matches = sorted(glob.glob(path, recursive=True), key=natural_key)
        if not matches:
            missing.append(VideoError(path, 'the glob matches nothing'))
        paths.extend(matches)
    return list(dict.fromkeys(paths)), missing


def probe_videos(
    paths: list[str], root: Path, threads: int | None = None
) -> tuple[list[VideoInfo], list[VideoError]]:
    """Opens each path, on several threads, and decodes its first frame.

    Returns:
        tuple[list[VideoInfo], list[VideoError]]: What can be used, and why the rest cannot.
    """

    def probe(path: str) -> VideoInfo | VideoError:
        try:
            return probe_video(path, root)
        except VideoError as error:
            return error

    results = []
    every = max(100, len(paths) // 10)
    with ThreadPoolExecutor(threads or 2 * (os.cpu_count() or 1)) as pool:
        for done, result in enumerate(pool.map(probe, paths), 1):
            results.append(result)
            if done % every == 0:
                print_log(f'opened {done} of {len(paths)} videos', logger='current')
    videos = [result for result in results if isinstance(result, VideoInfo)]
    return videos, [result for result in results if isinstance(result, VideoError)]


def probe_video(path: str, root: Path) -> VideoInfo:
    """Length and size of one video.

    Raises:
        VideoError: It cannot be opened, its first frame cannot be decoded, or it has one frame.
    """
    if not os.path.exists(path):
        raise VideoError(path, 'no such file or folder')
    reader: VideoReader = open_video(path)
    try:
        if len(reader) < 2:
            raise VideoError(path, f'has {len(reader)} frame, a pair needs two')
        height, width = reader.frames([0])[0].shape[:2]
        return VideoInfo(path, _name(path, root), len(reader), height, width)
    finally:
        reader.close()


def _name(path: str, root: Path) -> str:
    below = os.path.relpath(path, root)
    return Path(path).name if below.startswith('..') else Path(below).as_posix()


def _named(failures: list[VideoError]) -> str:
    lines = [f'  {failure}' for failure in failures[:_NAMED]]
    if len(failures) > _NAMED:
        lines.append(f'  ... and {len(failures) - _NAMED} more')
    return '\n'.join(lines)
