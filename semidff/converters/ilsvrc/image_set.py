"""Image-set lists of ILSVRC.

| line | example | meaning |
|---|---|---|
| ``path first_id 0 length`` | VID_val_videos | all frames, with ids from first_id |
| ``path 1 frame length`` | VID_train_15frames | one frame of the video, numbered as its file |
| ``path/000012 id`` | VID_val_videos_eval, VID_val_frames | one frame and its id |
| ``path`` or ``path 1``, a folder | train_1 ... of the development kit | the whole video |

The whole file distinguishes the two formats with four columns: a list of videos has 0 in every
third column and contains every video once.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

LARGEST_NUMBER = 10**9
LARGEST_LIST = 5_000_000
"""Frames of a list of videos; ImageNet VID has 1.2 million."""


@dataclass(frozen=True)
class ListedFrame:
    """A frame of an image set.

    Attributes:
        video: Path of the video's folder, relative to the annotation folder.
        frame_id: Number of the frame in the video, which is the name of its file.
        video_length: Number of frames of the whole video; None if the list does not contain it.
        ilsvrc_id: Frame id of the image set; None if there is none.
    """

    video: str
    frame_id: int
    video_length: int | None
    ilsvrc_id: int | None

    @property
    def path(self) -> str:
        """Path of the frame without suffix, relative to the annotation or image folder."""
        return f'{self.video}/{self.frame_id:06d}'


def read_lines(image_set: str | Path) -> list[list[str]]:
    """Return the words of each non-empty line.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is empty.
    """
    if not Path(image_set).is_file():
        raise FileNotFoundError(f'image set {str(image_set)!r} does not exist')
    text = Path(image_set).read_text(encoding='utf-8', errors='replace')
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f'image set {str(image_set)!r} is empty')
    return lines


def read_video_image_set(
    image_set: str | Path, ann_dir: str | Path, frames_per_video: int | None = None
) -> list[ListedFrame]:
    """Read an image set of videos.

    Args:
        ann_dir: Annotation folder, to count the frames of videos whose length is not in the list.
        frames_per_video: Number of evenly spaced frames to take of each video; None takes all
            listed frames.

    Returns:
        Videos in the order of the list, with their frames in temporal order.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If it is empty, or a line cannot be parsed.
    """
    lines = read_lines(image_set)
    columns = len(lines[0])
    for number, line in enumerate(lines, 1):
        if len(line) != columns or columns not in (1, 2, 4):
            raise ValueError(
                f'{image_set}, line {number}: {" ".join(line)!r} has {len(line)} columns, the '
                f'first line {columns}; lines are "path first_id 0 length", '
                '"path 1 frame length", "path/frame id" or "path"'
            )
    try:
        frames = _four_columns(lines) if columns == 4 else _paths(lines, Path(ann_dir))
    except ValueError as error:
        raise ValueError(f'{image_set}: {error}') from error
    videos: dict[str, dict[int, ListedFrame]] = {}
    for frame in frames:
        videos.setdefault(frame.video, {}).setdefault(frame.frame_id, frame)
    picked = []
    for video in videos.values():
        ordered = [video[frame_id] for frame_id in sorted(video)]
        picked += [ordered[i] for i in spaced(len(ordered), frames_per_video)]
    return picked


def spaced(length: int, count: int | None) -> list[int]:
    """Return the positions of ``count`` evenly spaced frames, each centered in its share of ``length``.

    15 of 300 are 10, 30, ..., 290, as in VID_train_15frames.

    All positions are returned if ``count`` is None or there are no more than ``count``.
    """
    if count is None or count >= length:
        return list(range(length))
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def _four_columns(lines: list[list[str]]) -> list[ListedFrame]:
    rows = [(line[0], *map(_whole, line[1:])) for line in lines]
    if all(row[2] == 0 for row in rows) and len({row[0] for row in rows}) == len(rows):
        if (total := sum(row[3] for row in rows)) > LARGEST_LIST:
            raise ValueError(f'the videos have {total} frames, more than {LARGEST_LIST}')
        return [
            ListedFrame(video, index, length, first + index)
            for video, first, _, length in rows
            for index in range(length)
        ]
    return [ListedFrame(video, frame, length, None) for video, _, frame, length in rows]


def _paths(lines: list[list[str]], ann_dir: Path) -> list[ListedFrame]:
    """Return the frames of a list with one or two columns: paths of frames or of whole videos."""
    frames = []
    for path, *number in lines:
        video, _, name = path.rpartition('/')
        if video and name.isdigit():
            frames.append(
                ListedFrame(video, int(name), None, _whole(number[0]) if number else None)
            )
        else:
            files = sorted((ann_dir / path).glob('*.xml'))
            ids = [int(file.stem) for file in files if file.stem.isdigit()]
            if not ids:
                raise ValueError(f'{str(ann_dir / path)!r} has no annotation files 000000.xml, ...')
            frames += [ListedFrame(path, frame, len(ids), None) for frame in ids]
    counts = Counter(frame.ilsvrc_id for frame in frames)
    if None in counts or max(counts.values()) > 1:
        # A second column with repeated numbers is a flag, not an id.
        frames = [replace(frame, ilsvrc_id=None) for frame in frames]
    return frames


def _whole(word: str) -> int:
    if not word.isdecimal() or int(word[:20]) > LARGEST_NUMBER:
        raise ValueError(f'{word[:40]!r} is not a whole number up to {LARGEST_NUMBER}')
    return int(word)
