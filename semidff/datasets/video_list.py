"""Lists of unlabeled videos.

A list is a text file with a video file, a folder of frames, a folder of videos or a glob per line,
or itself a folder or a glob. Blank lines and comments (``#`` at a line's start or after white
space) are ignored. Videos that cannot be opened are skipped and logged.

Lists of frames name a video and the number of a frame from 0 on each line: ``video frame``, or
``video 1 frame length`` as the lists of Deep Feature Flow (``VID_train_15frames.txt``).

What is known of each video is kept in a manifest, ``.LIST.manifest.json`` beside the list, or in
the user's cache folder where that cannot be written. A list whose videos have not changed opens
none of them.
"""

import fcntl
import glob
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log

from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.files import file_state
from semidff.utils.logs import log_warning
from semidff.utils.progress import track

from .video_folders import list_videos
from .video_readers import VideoError, open_video

_NAMED = 10  # files that a message names
_VERSION = 2  # of what the reader finds


class VideoListError(ValueError):
    """The list of videos is missing or empty, or none of its videos can be read."""


class VideoInfo(NamedTuple):
    """A readable video: file or folder, path relative to the list's root, length and size."""

    path: str
    name: str
    length: int
    height: int
    width: int


def load_videos(ann_file: str | Path, data_prefix: str | Path | None = None) -> list[VideoInfo]:
    """Return the readable videos of a list, a folder or a glob, in the order of the list.

    Relative paths start at ``data_prefix``, by default the list's folder. Only videos that the
    manifest does not know are opened.
    """
    if os.path.isdir(ann_file):
        entries, root = [os.path.abspath(ann_file)], ann_file
    elif not os.path.exists(ann_file) and glob.has_magic(str(ann_file)):
        entries, root = [str(ann_file)], Path.cwd()
    else:
        entries, root = _read_lines(ann_file), Path(ann_file).parent
    root = Path(data_prefix or root)
    return _open_all(ann_file, root, *list_videos(entries, root))


def load_frames(
    ann_file: str | Path, data_prefix: str | Path | None = None
) -> list[tuple[VideoInfo, list[int]]]:
    """Return the readable videos of a list of frames and their frames, in the list's order."""
    root = Path(data_prefix or Path(ann_file).parent)
    frames: dict[str, list[int]] = {}
    names: dict[str, str] = {}  # the first name of each file
    for line in _read_lines(ann_file):
        words = re.fullmatch(r'(.*\S)\s+1\s+(\d+)\s+\d+|(.*\S)\s+(\d+)', line)
        if words is None:
            raise VideoListError(
                f'{ann_file}: {line!r} names no frame; write "video frame" or "video 1 frame '
                "length\" on each line, or set lists='videos'"
            )
        video, number = words[1] or words[3], words[2] or words[4]
        path = str(root / os.path.expanduser(video))
        frames.setdefault(names.setdefault(os.path.realpath(path), path), []).append(int(number))
    videos = _open_all(ann_file, root, list(frames), [])
    for video in videos:
        if max(frames[video.path]) >= video.length:
            raise VideoListError(
                f'{ann_file}: frame {max(frames[video.path])} of {video.name} is listed, but the '
                f'video has {video.length} frames, numbered from 0'
            )
    return [(video, frames[video.path]) for video in videos]


def _read_lines(ann_file: str | Path) -> list[str]:
    try:
        text = Path(ann_file).read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', 'not a text file (UTF-8)')
    else:
        lines = [re.sub(r'(^|\s)#.*', '', line).strip() for line in text.splitlines()]
        if entries := [line for line in lines if line]:
            return entries
        reason = 'empty'
    raise VideoListError(f'{ann_file}: no list of videos ({reason})')


def _open_all(
    ann_file: str | Path, root: Path, paths: list[str], failures: list[VideoError]
) -> list[VideoInfo]:
    """Return the readable videos among paths; log the failures and the damaged videos."""
    videos, damaged, total = [], [], len(paths) + len(failures)
    for path, entry in zip(paths, _entries(ann_file, paths), strict=True):
        if isinstance(entry, str):
            failures.append(VideoError(path, entry))
            continue
        *sizes, damage = entry
        below = os.path.relpath(path, root)
        name = Path(path).name if below.startswith('..') else Path(below).as_posix()
        videos.append(VideoInfo(path, name, *sizes))
        if damage:
            damaged.append(VideoError(path, damage))
    if not videos:
        raise VideoListError(
            f'{ann_file}: none of its {total} entries can be used as a video (relative paths start '
            f'at {root.resolve()}):\n{first_errors(failures)}'
        )
    for errors, what in ((failures, f'of {total} entries are skipped'), (damaged, 'are damaged')):
        if errors:
            log_warning(f'{ann_file}: {len(errors)} {what}:\n{first_errors(errors)}')
    frames = sum(video.length for video in videos)
    print_log(f'{ann_file}: {len(videos)} videos, {frames} frames', logger='current')
    return videos


def first_errors(errors: Sequence[VideoError]) -> str:
    """Return a line for each of the first errors, and the number of the others."""
    lines = [f'  {error}' for error in errors[:_NAMED]]
    lines += [f'  ... and {len(errors) - _NAMED} more'] if len(errors) > _NAMED else []
    return '\n'.join(lines)


def _entries(ann_file: str | Path, paths: Sequence[str]) -> list[list | str]:
    """Return length, height, width and damage of each video, or why it cannot be read.

    One process opens videos and renews the manifest while the others wait.
    """
    keys = [os.path.abspath(path) for path in paths]
    states = {key: file_state(key) for key in keys}
    file = _manifest_file(ann_file)
    with ExitStack() as stack:
        with suppress(OSError):  # without locks, every process opens them
            file.parent.mkdir(parents=True, exist_ok=True)
            fcntl.lockf(stack.enter_context(open(f'{file}.lock', 'a')), fcntl.LOCK_EX)
        try:
            content = read_json(file)
            known = content['videos'] if content['version'] == _VERSION else {}
        except (OSError, ValueError, KeyError, TypeError):
            known = {}
        new = [key for key, state in states.items() if state and known.get(key, [[]])[0] != state]
        if new:
            pool = stack.enter_context(ThreadPoolExecutor())
            probed = track(pool.map(_probe, new), 'opening videos', len(new), 'videos')
            known |= {key: [states[key], entry] for key, entry in zip(new, probed, strict=True)}
            try:
                write_json(dict(version=_VERSION, videos=known), file)
            except OSError as error:
                log_warning(f'{file}: cannot be written ({error.strerror})')
    return [known[key][1] if states[key] else 'no such file' for key in keys]


def _probe(path: str) -> list | str:
    """Open a video and decode its first frame; return the reason if no pair can be read from it."""
    try:
        with closing(open_video(path)) as reader:
            if len(reader) < 2:
                return f'has {len(reader)} frame, a pair needs two'
            return [len(reader), *reader.size, reader.damage]
    except VideoError as error:
        return error.reason


def _manifest_file(ann_file: str | Path) -> Path:
    path = Path(os.path.abspath(ann_file))
    name = f'.{path.name}.manifest.json'
    if not glob.has_magic(path.name) and os.access(path.parent, os.W_OK):
        return path.parent / name
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return cache / 'semidff' / f'{sha256(os.fsencode(path)).hexdigest()[:16]}{name}'
