"""The videos of an adaptation, the held-back part and the measured clips."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from semidff.datasets.video_folders import list_videos
from semidff.datasets.video_list import VideoInfo, VideoListError
from semidff.datasets.video_readers import VideoError, open_video
from semidff.points.clips import Clip
from semidff.utils.atomic_write import atomic_write
from semidff.utils.logs import log_warning

HELD_BACK = 0.15  # share of the frames, as whole videos or as the end of each video
CLIP = 41  # least frames of a video that is held back; the end of a video has half of them at least
_SEVERAL, _MANY = 3, 10  # videos
_MOST = 0.4  # share of the frames that a single whole video may have; several: twice HELD_BACK
_MIN_FRAMES = 100
_CUTS = 60, 20  # multiples of nearly all intervals
_LONGEST, _PART = 301, 121  # frames of a clip, and of the parts of a single one, at least


def named_videos(given: Sequence[str], own: Path) -> list[str]:
    """Return the absolute paths of the videos that are named, see
    :func:`~semidff.datasets.video_folders.list_videos`.

    Args:
        given: Video files, folders of frames, folders that contain either at any depth, and globs.
        own: The folder of the results; videos in it are left out.
    """
    videos, missing = list_videos(given, own=own)
    skipped = [error.path for error in missing]
    if absent := [path for path in (*skipped, *videos) if not os.path.lexists(path)]:
        raise VideoListError(f'{absent[0]}: there is no such file or folder')
    found = []
    for video in map(os.path.abspath, videos):
        if re.search(r'(\s#|[\n\r]|\s$|[\udc80-\udcff])', video):
            skipped.append(video)
        else:
            found.append(video)
    if skipped:
        log_warning(
            f'{len(skipped)} folders or files are skipped, since they hold no videos, or since '
            'lists of videos cannot hold their names (" #", line breaks, white space at the end, '
            f'bytes that are not UTF-8): {skipped[:10]}'
        )
    if not found:
        raise VideoListError(
            f'{", ".join(given)}: no videos; give video files, folders of frames, or folders that '
            'contain them'
        )
    return found


def hold_back(videos: Sequence[VideoInfo]) -> tuple[list[VideoInfo], list[VideoInfo], float]:
    """Divide videos into those that are trained on and those that validate.

    What is learned on some videos may hurt on others, which the end of the same videos does not
    show. Therefore whole videos are held back, which are spread evenly over the list and have at
    most 30 % of the frames, a single one 40 %. Of one or two videos, or where all are too long or
    too short, the end of each long enough one is held back.

    Returns:
        The videos of the training, those of the validation, and the share of each video that is
        trained on.
    """
    frames = sum(video.length for video in videos)
    if frames < _MIN_FRAMES:
        raise VideoListError(
            f'{len(videos)} readable videos have {frames} frames in all; at least {_MIN_FRAMES} '
            'are needed, and minutes of video are better'
        )
    count = max(1, round(HELD_BACK * len(videos)))
    most = (_MOST if count == 1 else 2 * HELD_BACK / count) * frames
    short = [i for i, video in enumerate(videos) if video.length <= most]
    ends = [video for video in videos if HELD_BACK * video.length >= CLIP / 2]
    enough = [index for index in short if videos[index].length >= CLIP]
    whole = enough or (short and (len(videos) >= _MANY or not ends))
    if len(videos) < _SEVERAL or not whole:
        longest = max(videos, key=lambda video: video.length)
        return list(videos), ends or [longest], 1 - HELD_BACK
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


def choose_clips(held_back: Sequence[str], portion: float, frames: int) -> list[Clip]:
    """Choose clips of the held-back frames, about ``frames`` in all.

    The clips are spread evenly over the held-back videos, and begin where the training ends. They
    end with a key frame of nearly all intervals, where they are long enough: without the next key
    frame, offline methods do worse than in a whole video. A single long video has two. The first
    third of the clips is spread over the videos, too.
    """
    count = max(1, min(len(held_back), round(frames / CLIP)))
    places = np.linspace(0, len(held_back) - 1, count).round().astype(int)
    length = min(max(round(frames / count), CLIP), _LONGEST)
    clips = []
    for path in (held_back[place] for place in places):
        try:
            with closing(open_video(path)) as reader:
                total = len(reader)
        except VideoError:  # is reported where it is decoded
            clips.append(Clip(path))
            continue
        first = 0 if portion == 1 else int(total * portion)
        # Clips are processed at once.
        parts = 2 if count == 1 and min(length, total - first) >= 2 * _PART else 1
        for part in range(parts):
            start = first + (total - first) * part // parts
            available = min((total - first) // parts, length // parts)
            if available >= CLIP:
                cut = next(cut for cut in _CUTS if available > cut)
                available = (available - 1) // cut * cut + 1
            clips.append(Clip(path, start, start + available))
    return [*clips[::3], *clips[1::3], *clips[2::3]]


def readable_clips(
    held_back: Sequence[str], portion: float, frames: int
) -> tuple[list[str], list[Clip]]:
    """Return the videos whose clips can be decoded, and the clips.

    Raises:
        VideoError: There are none.
    """
    while held_back:
        clips, errors = choose_clips(held_back, portion, frames), {}
        for clip in clips:
            try:
                for _ in clip.images():
                    pass
            except VideoError as error:
                errors[clip.path] = error
        if not errors:
            return list(held_back), clips
        held_back = [path for path in held_back if path not in errors]
    raise next(iter(errors.values()))
