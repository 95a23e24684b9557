"""Lists of unlabeled videos: text files with a video file, a folder of frames or a glob per line.

Blank lines and comments (``#`` at a line's start or after white space) are ignored. Videos that
cannot be opened are skipped and logged.

Lists of frames name a video and the number of a frame from 0 on each line: ``video frame``, or
``video 1 frame length`` as the lists of Deep Feature Flow (``VID_train_15frames.txt``).
"""

import glob
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmengine.logging import print_log

from semidff.utils.logs import log_warning
from semidff.utils.tool_files import FileError, check_inputs, check_regular

from .video_readers import VideoError, natural_key, open_video
from .video_readers.container import end_is_missing
from .video_readers.file_stream import size_changes

_NAMED = 10  # Files named in one message.


class VideoListError(ValueError):
    """The list of videos is missing or empty, or none of its videos can be read."""


@dataclass(frozen=True)
class VideoInfo:
    """A readable video.

    Attributes:
        path: File or folder.
        name: Path relative to the list's root, for logs and metainfo.
        length: Number of frames, at least 2.
        height: Height of the first frame in pixels.
        width: Width of the first frame in pixels.
    """

    path: str
    name: str
    length: int
    height: int
    width: int


def load_videos(ann_file: str | Path, data_prefix: str | Path | None = None) -> list[VideoInfo]:
    """Read a list and open every video of it once, on several threads.

    Args:
        data_prefix: Root of relative paths; default: the list's folder.

    Returns:
        The readable videos, in the order of the list.

    Raises:
        VideoListError: If the list is missing or empty, or none of its videos can be read.
    """
    root = Path(data_prefix) if data_prefix else Path(ann_file).parent
    return _open_all(ann_file, root, *expand_list(ann_file, root))


def load_frames(
    ann_file: str | Path, data_prefix: str | Path | None = None
) -> list[tuple[VideoInfo, list[int]]]:
    """Read a list of frames and open every video of it once.

    Args:
        data_prefix: As in :func:`load_videos`.

    Returns:
        The readable videos with their listed frames, both in the order of the list.

    Raises:
        VideoListError: As in :func:`load_videos`, and if a line names no frame, or one that the video does not have.
    """
    root = Path(data_prefix) if data_prefix else Path(ann_file).parent
    frames: dict[str, list[int]] = {}
    for line in read_lines(ann_file):
        words = re.fullmatch(r'(.*\S)\s+1\s+(\d+)\s+\d+|(.*\S)\s+(\d+)', line)
        if words is None:
            raise VideoListError(
                f'{ann_file}: {line!r} names no frame; write "video frame" or "video 1 frame length" on each line, or '
                "set lists='videos'"
            )
        video, number = words[1] or words[3], words[2] or words[4]
        frames.setdefault(str(root / os.path.expanduser(video)), []).append(int(number))
    videos = _open_all(ann_file, root, list(frames), [])
    for video in videos:
        if max(frames[video.path]) >= video.length:
            raise VideoListError(
                f'{ann_file}: frame {max(frames[video.path])} of {video.name} is listed, but the video has '
                f'{video.length} frames, numbered from 0'
            )
    return [(video, frames[video.path]) for video in videos]


def _open_all(
    ann_file: str | Path, root: Path, paths: list[str], failures: list[VideoError]
) -> list[VideoInfo]:
    """Open every video of a list once, on several threads, and log the failures."""
    check_inputs([ann_file, *paths])
    total, every = len(paths) + len(failures), max(100, len(paths) // 10)
    videos: list[VideoInfo] = []
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        for done, result in enumerate(pool.map(partial(_probe, root=root), paths), 1):
            (videos if isinstance(result, VideoInfo) else failures).append(result)
            if done % every == 0:
                print_log(f'opened {done} of {len(paths)} videos', logger='current')
    named = '\n'.join(f'  {failure}' for failure in failures[:_NAMED])
    if len(failures) > _NAMED:
        named += f'\n  ... and {len(failures) - _NAMED} more'
    if not videos:
        raise VideoListError(
            f'{ann_file}: none of its {total} entries can be used as a video '
            f'(relative paths start at {root.resolve()}):\n{named}\n'
            'Each line must be a video file, a folder of images or a glob. Check the paths and '
            'whether a player opens the files.'
        )
    if failures:
        log_warning(f'{ann_file}: {len(failures)} of {total} entries are skipped:\n{named}')
    _report_ends(ann_file, [video.path for video in videos if os.path.isfile(video.path)])
    frames = sum(video.length for video in videos)
    print_log(f'{ann_file}: {len(videos)} videos, {frames} frames', logger='current')
    return videos


def _report_ends(ann_file: str | Path, files: list[str]) -> None:
    """Log which video files are cut off, of how many that cannot be known, and in which the size changes."""
    ends = [end_is_missing(file) for file in files]
    if cut := [file for file, missing in zip(files, ends, strict=True) if missing]:
        log_warning(
            f'{ann_file}: {len(cut)} videos are cut off, only their first frames are used: '
            + ', '.join(cut[:_NAMED])
        )
    if unknown := ends.count(None):
        print_log(
            f'{ann_file}: {unknown} videos are of formats that do not state their length; missing ends '
            'cannot be noticed',
            logger='current',
        )
    if changing := [file for file in files if size_changes(file)]:
        log_warning(
            f'{ann_file}: in {len(changing)} videos the size of the frames changes; they are scaled to the size of '
            'the first frame: ' + ', '.join(changing[:_NAMED])
        )


def read_lines(ann_file: str | Path) -> list[str]:
    """Return the entries of a list, without comments and blank lines.

    Raises:
        VideoListError: If the file is missing, is not text, or has no entries.
    """
    try:
        check_regular(ann_file)
        text = Path(ann_file).read_text(encoding='utf-8-sig')
    except FileNotFoundError:
        raise VideoListError(
            f'{ann_file}: no such list of videos. Write a text file with a video file, a folder of '
            'frames or a glob (videos/*.mp4) on each line, and give its path as ann_file.'
        ) from None
    except IsADirectoryError:
        raise VideoListError(
            f'{ann_file}: is a folder, the list must be a text file; for the videos of a folder '
            "write the line '*.mp4'."
        ) from None
    except FileError as error:
        raise VideoListError(str(error)) from None
    except UnicodeDecodeError:
        raise VideoListError(
            f'{ann_file}: is not a text file (UTF-8). Give a list of videos, not a video.'
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
    """Return the distinct paths of a list, globs in natural order, and the globs without a match."""
    paths: list[str] = []
    missing: list[VideoError] = []
    for line in read_lines(ann_file):
        entry = os.path.expanduser(line)
        path = str(root / entry)
        if os.path.exists(path) or not glob.has_magic(entry):
            paths.append(path)
            continue
        # The root may have brackets of its own.
        matches = sorted(glob.glob(entry, root_dir=root, recursive=True), key=natural_key)
        if not matches:
            missing.append(VideoError(path, 'the glob matches nothing'))
        paths.extend(str(root / match) for match in matches)
    return list(dict.fromkeys(paths)), missing


def _probe(path: str, root: Path) -> VideoInfo | VideoError:
    """Open a video and decode its first frame; return an error if a pair cannot be read from it."""
    try:
        with closing(open_video(path)) as reader:
            length = len(reader)
            if length < 2:
                raise VideoError(path, f'has {length} frame, a pair needs two')
            height, width = reader.frames([0])[0].shape[:2]
    except VideoError as error:
        return error
    below = os.path.relpath(path, root)
    name = Path(path).name if below.startswith('..') else Path(below).as_posix()
    return VideoInfo(path, name, length, height, width)
