"""Image-set lists of ILSVRC: which frames of which videos, in which order.

| a line | as in | means |
|---|---|---|
| ``path first_id 0 length`` | VID_val_videos | all frames, ids from first_id on |
| ``path 1 frame length`` | VID_train_15frames | one frame of the video, numbered as its file |
| ``path/000012 id`` | VID_val_videos_eval, VID_val_frames | one frame, and its id |
| ``path`` or ``path 1``, a folder | train_1 ... of the development kit | the whole video |

The two kinds of four columns are told apart by the file as a whole: a list of videos has 0 in every
third column and names every video once.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class ListedFrame:
    """A frame of an image set.

    Attributes:
        video: Path of the video's folder, below the annotation folder.
        frame_id: Number of the frame in the video, which is its file's name.
        video_length: Frames of the whole video; None if the list does not say.
        ilsvrc_id: The image set's frame id; None if it has none.
    """

    video: str
    frame_id: int
    video_length: int | None
    ilsvrc_id: int | None

    @property
    def path(self) -> str:
        """Path of the frame without suffix, below the annotation or image folder."""
        return f'{self.video}/{self.frame_id:06d}'


def read_lines(image_set: str | Path) -> list[list[str]]:
    """The words of each line that is not empty.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: It is empty.
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
    """Reads an image set of videos.

    Args:
        image_set: The list.
        ann_dir: Annotation folder; looked into for videos whose length the list does not say.
        frames_per_video: Take this many evenly spaced frames of each video; None takes all that are
            listed.

    Returns:
        Videos in the list's order, frames of each in order of time.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: It is empty, or a line is not understood.
    """
    lines = read_lines(image_set)
    columns = len(lines[0])
    for number, line in enumerate(lines, 1):
        if len(line) != columns or columns not in (1, 2, 4):
            raise ValueError(
                f'{image_set}, line {number}: {" ".join(line)!r} has {len(line)} columns, the '
                f'first line {columns}; '
                'lines are "path first_id 0 length", "path 1 frame length", "path/frame id" or '
                '"path"'
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
    """Positions of ``count`` evenly spaced frames, each in the middle of its share of ``length``.

    15 of 300 are 10, 30, ..., 290, as in VID_train_15frames.

    Args:
        length: Number of frames.
        count: How many to take; None for all.

    Returns:
        Ascending positions; all if there are not more than ``count``.
    """
    if count is None or count >= length:
        return list(range(length))
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def _four_columns(lines: list[list[str]]) -> list[ListedFrame]:
    """Frames of lists with four columns."""
    rows = [(line[0], *map(_whole, line[1:])) for line in lines]
    if all(row[2] == 0 for row in rows) and len({row[0] for row in rows}) == len(rows):
        return [
            ListedFrame(video, index, length, first + index)
            for video, first, _, length in rows
            for index in range(length)
        ]
    return [ListedFrame(video, frame, length, None) for video, _, frame, length in rows]


def _paths(lines: list[list[str]], ann_dir: Path) -> list[ListedFrame]:
    """Frames of lists with one or two columns: paths of frames, or of whole videos."""
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
        # a second column that repeats is a flag, not an id
        frames = [replace(frame, ilsvrc_id=None) for frame in frames]
    return frames


def _whole(word: str) -> int:
    """A whole number, not below 0."""
    if not word.isdigit():
        raise ValueError(f'{word!r} is not a whole number')
    return int(word)
