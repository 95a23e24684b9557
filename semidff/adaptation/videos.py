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

HELD_BACK = 0.15  # share of the frames, as whole videos or as the end of each video
CLIP = 41  # least frames of a video that is held back; the end of a video has half of them at least
_SEVERAL, _MANY = 4, 10  # videos
_MIN_FRAMES = 100


def named_videos(given: Sequence[str], own: Path) -> list[str]:
    """Return the absolute paths of the videos that are named, without duplicates; a link is one of its target.

    Args:
        given: Video files, folders of frames, folders that contain either at any depth, and globs.
        own: The folder of the results; videos in it are left out.
    """
    found: dict[str, str] = {}  # what is held back must not be trained on under another name
    skipped: list[str] = []
    for entry in given:
        path = os.path.expanduser(entry)
        matches = [path] if os.path.exists(path) else glob.glob(path, recursive=True)
        if not matches:
            raise VideoListError(f'{entry}: there is no such file or folder')
        for match in sorted(matches, key=natural_key):
            videos = [match]
            if is_archive(match):
                try:
                    videos = [os.path.join(match, video) for video in find_videos(match, own)]
                except VideoError:
                    skipped.append(match)
                    continue
            for video in map(os.path.abspath, videos):
                if re.search(r'(\s#|[\n\r]|\s$|[\udc80-\udcff])', video):
                    skipped.append(video)
                else:
                    found.setdefault(os.path.realpath(video), video)
    if skipped:
        log_warning(
            f'{len(skipped)} folders or files are skipped, since they hold no videos, or since lists of videos cannot '
            'hold their names (" #", line breaks, white space at the end, bytes that are not UTF-8): '
            f'{skipped[:10]}'
        )
    if not found:
        raise VideoListError(
            f'{", ".join(given)}: no videos; give video files, folders of frames, or folders that contain them'
        )
    return list(found.values())


def hold_back(videos: Sequence[VideoInfo]) -> tuple[list[VideoInfo], list[VideoInfo], float]:
    """Divide videos into those that are trained on and those that validate.

    Of fewer than ten videos, the end of each that is not too short is held back, since every scene counts for the
    training. Of more or shorter ones, some that are spread evenly over the list, which together have at most 30 % of
    the frames.

    Returns:
        The videos of the training, those of the validation, and the share of each video that is trained on.
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
