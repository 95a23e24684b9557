"""The videos of an adaptation: what the user names, and which part of it is held back for validation."""

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from semidff.datasets.video_folders import find_videos, is_archive
from semidff.datasets.video_list import VideoInfo, VideoListError
from semidff.datasets.video_readers import VideoError, natural_key
from semidff.utils.atomic_write import atomic_write
from semidff.utils.logs import log_warning

HELD_BACK = 0.15
"""Share of the frames that is held back, as whole videos or as the end of each video."""
CLIP = 41
"""Least frames of a video that is held back; the end of a video has half of them at least."""

_SEVERAL, _MANY = 4, 10  # videos
_MIN_FRAMES = 100


def named_videos(given: Sequence[str], own: Path) -> list[str]:
    """Return the absolute paths of the videos that are named, without duplicates; a link is one of its target.

    Args:
        given: Video files, folders of frames, folders that contain either at any depth, and globs.
        own: The folder of the results; videos in it are left out.

    Raises:
        VideoListError: If a path does not exist, a glob matches nothing, or no videos are left.
    """
    found: list[str] = []
    empty: list[str] = []
    for entry in given:
        path = os.path.expanduser(entry)
        matches = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        if not matches:
            raise VideoListError(f'{entry}: there is no such file or folder')
        for match in sorted(matches, key=natural_key):
            if not is_archive(match):
                found.append(match)
                continue
            try:
                found += [os.path.join(match, one) for one in find_videos(match)]
            except VideoError:
                empty.append(match)
    # A video that is held back must not be trained on under another name.
    first: dict[str, str] = {}
    for path in map(os.path.abspath, found):
        first.setdefault(os.path.realpath(path), path)
    paths = list(first.values())
    results = [
        path for path in paths if own in (Path(path).resolve(), *Path(path).resolve().parents)
    ]
    unfit = [path for path in paths if re.search(r'(\s#|[\n\r]|\s$|[\udc80-\udcff])', path)]
    _log_skipped(empty, 'folders are skipped, since they hold no videos')
    _log_skipped(results, 'videos are skipped, since they are in the folder of the results (--out)')
    _log_skipped(
        unfit,
        'videos are skipped, since lists of videos cannot hold names with " #", line breaks, white space at the end or '
        'bytes that are not UTF-8',
    )
    skipped = {*results, *unfit}
    if left := [path for path in paths if path not in skipped]:
        return left
    if results:
        raise VideoListError(f'{own}: --out contains the videos; give a folder without videos')
    raise VideoListError(
        f'{", ".join(given)}: no videos; give video files, folders of frames, or folders that contain them'
    )


def _log_skipped(paths: Sequence[str], reason: str) -> None:
    if paths:
        log_warning(f'{len(paths)} {reason}: {paths[:10]}')


def hold_back(videos: Sequence[VideoInfo]) -> tuple[list[VideoInfo], list[VideoInfo], float]:
    """Divide videos into those that are trained on and those that validate.

    Of fewer than ten videos, the end of each that is not too short is held back, since every scene counts for the
    training. Of more or shorter ones, some that are spread evenly over the list, which together have at most 30 % of
    the frames.

    Returns:
        The videos of the training, those of the validation, and the share of each video that is trained on.

    Raises:
        VideoListError: If there are too few frames.
    """
    frames = sum(video.length for video in videos)
    if frames < _MIN_FRAMES:
        raise VideoListError(
            f'{len(videos)} readable videos have {frames} frames in all; at least {_MIN_FRAMES} are needed, and '
            'minutes of video are better'
        )
    count = max(1, round(HELD_BACK * len(videos)))
    most = 2 * HELD_BACK * frames / count
    short = [i for i, video in enumerate(videos) if video.length <= most]
    ends = [video for video in videos if HELD_BACK * video.length >= CLIP / 2]
    if len(videos) < (_MANY if ends else _SEVERAL) or not short:
        longest = max(videos, key=lambda video: video.length)
        return list(videos), ends or [longest], 1 - HELD_BACK
    enough = [index for index in short if videos[index].length >= CLIP]
    short = enough if len(enough) >= count else short
    places = np.linspace(0, len(short) - 1, count + 2).round().astype(int)[1:-1]
    held = {short[place] for place in places}
    trained = [video for index, video in enumerate(videos) if index not in held]
    return trained, [videos[index] for index in sorted(held)], 1.0


def write_list(path: Path, videos: Iterable[str]) -> str:
    """Write a list of videos for a training; return its path."""
    with atomic_write(path) as file:
        file.writelines(f'{video}\n' for video in videos)
    return str(path)
