"""ImageNet DET and VID: from the layout of ILSVRC2015 to COCO-VID json.

Image-set lists of ILSVRC have lines of one kind:

| line | example | meaning |
|---|---|---|
| ``path first_id 0 length`` | VID_val_videos | all frames, with ids from first_id |
| ``path 1 frame length`` | VID_train_15frames | one frame of the video, numbered as its file |
| ``path/000012 id`` | VID_val_videos_eval, VID_val_frames | one frame and its id |
| ``path`` or ``path 1``, a folder | train_1 ... of the development kit | the whole video |

Of the two formats with four columns, a list of videos has 0 in every third column.
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from semidff.datasets.imagenet import VID_WNIDS
from semidff.utils.atomic_write import write_json
from semidff.utils.command_line import Count, Input, Output
from semidff.utils.progress import track
from semidff.utils.worker_pool import pool_map

_FILES_AT_ONCE = 64
_CATEGORY = {wnid: number for number, wnid in enumerate(VID_WNIDS.values(), 1)}


class ListedFrame(NamedTuple):
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


@dataclass
class Conversion:
    """The content of a json file, and what is left out of it.

    Attributes:
        other_objects: Number of objects of classes other than the 30.
        broken: Error of each annotation file that could not be read, by its path; its image is left
            out.
    """

    out: str | Path
    videos: list[dict] = field(default_factory=list)
    images: list[dict] = field(default_factory=list)
    annotations: list[dict] = field(default_factory=list)
    other_objects: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    _instances: dict[tuple, int] = field(default_factory=dict)

    def __str__(self) -> str:
        videos = f' of {len(self.videos)} videos' if self.videos else ''
        text = f'{self.out}: {len(self.images)} images{videos}, {len(self.annotations)} boxes, '
        text += f'{self.other_objects} objects of other classes left out'
        if self.broken:
            text += f'\nWARNING: {len(self.broken)} images left out, whose annotations are broken:'
        return text + ''.join(f'\n  {path}: {reason}' for path, reason in self.broken.items())

    def add(self, file_name: str, xml: tuple[dict, list[dict]], **place: int) -> None:
        """Add an image and its objects of the 30 classes, by :func:`read_xml` and place in a video.

        Objects of a video with one track and one class have one ``instance_id``.
        """
        size, objects = xml
        image_id, video = len(self.images) + 1, place.get('video_id')
        self.images.append({'id': image_id, 'file_name': file_name, **size, **place})
        for annotation in objects:
            wnid, track = annotation.pop('wnid'), annotation.get('track_id')
            if video is not None:
                annotation['video_id'] = video
            if video is not None and track is not None:
                key = video, track, wnid
                known = self._instances
                annotation['instance_id'] = known.setdefault(key, len(known) + 1)
            if wnid not in _CATEGORY:
                self.other_objects += 1
                continue
            number = {'id': len(self.annotations) + 1, 'image_id': image_id}
            self.annotations.append({**number, 'category_id': _CATEGORY[wnid], **annotation})

    def write(self, image_set: str | Path) -> None:
        """Write the json of an image set."""
        if not self.images:
            path, reason = next(iter(self.broken.items()))
            raise ValueError(
                f'none of the {len(self.broken)} annotation files of {str(image_set)!r} can be '
                f'read; first {path}: {reason}. The paths in the list must be relative to the '
                'annotation folder.'
            )
        categories = [
            {'id': number, 'name': name, 'wnid': wnid}
            for number, (name, wnid) in enumerate(VID_WNIDS.items(), 1)
        ]
        content = {
            'info': {'image_set': Path(image_set).name, 'left_out': self.broken},
            'videos': self.videos,
            'images': self.images,
            'annotations': self.annotations,
            'categories': categories,
        }
        write_json(content, self.out)


def convert_vid(
    ann_dir: Input,
    image_set: Input,
    out: Output,
    workers: Count = 4,
    frames_per_video: int | None = None,
    image_suffix: str = '.JPEG',
) -> Conversion:
    """Convert an image set of ImageNet VID.

    ``bbox`` is ``[xmin, ymin, xmax - xmin, ymax - ymin]`` with the file's coordinates; only the
    metric adds the inclusive last pixel. Each annotation keeps ``occluded``, ``generated`` and the
    file's ``track_id``; ``instance_id`` is unique in the json. Each image keeps ``ilsvrc_id``, the
    image set's frame id, if any.

    Args:
        ann_dir: Folder ``Annotations/VID`` of ILSVRC2015.
        image_set: List of videos or frames, such as VID_val_videos.txt, VID_train_15frames.txt or
            VID_val_frames.txt.
        out: JSON file to write.
        workers: Processes.
        frames_per_video: Number of evenly spaced frames to take of each video (default: all listed
            frames).
        image_suffix: Suffix of the images.
    """
    listed = read_video_image_set(image_set, ann_dir, frames_per_video)
    frames = _read_all([frame.path for frame in listed], ann_dir, workers)
    videos: dict[str, dict] = {}
    done = Conversion(out)
    for frame, xml in zip(listed, frames, strict=True):
        if isinstance(xml, str):
            done.broken[f'{frame.path}.xml'] = xml
            continue
        # Supervised training reads unlisted frames as key frames.
        pattern = f'{frame.video}/%06d{image_suffix}'
        new = {'id': len(videos) + 1, 'name': frame.video, 'frame_pattern': pattern}
        video = videos.setdefault(frame.video, new | _present(length=frame.video_length))
        numbers = _present(video_length=frame.video_length, ilsvrc_id=frame.ilsvrc_id)
        place = dict(video_id=video['id'], frame_id=frame.frame_id)
        done.add(frame.path + image_suffix, xml, **place, **numbers)
    done.videos = list(videos.values())
    done.write(image_set)
    return done


def convert_det(
    ann_dir: Input,
    image_set: Input,
    out: Output,
    workers: Count = 4,
    image_suffix: str = '.JPEG',
) -> Conversion:
    """Convert an image set of ImageNet DET; keep the objects of VID's 30 classes.

    Args:
        ann_dir: Folder ``Annotations/DET`` of ILSVRC2015.
        image_set: List of images without suffix, such as DET_train_30classes.txt; further columns
            are ignored.
        out: JSON file to write.
        workers: Processes.
        image_suffix: Suffix of the images.
    """
    paths = list(dict.fromkeys(line[0] for line in _read_lines(image_set)))
    done = Conversion(out)
    for path, xml in zip(paths, _read_all(paths, ann_dir, workers), strict=True):
        if isinstance(xml, str):
            done.broken[f'{path}.xml'] = xml
        else:
            done.add(path + image_suffix, xml)
    done.write(image_set)
    return done


def _present(**entries: int | None) -> dict[str, int]:
    return {key: value for key, value in entries.items() if value is not None}


def _read_lines(image_set: str | Path) -> list[list[str]]:
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
        Videos in the order of the list, each once, with their frames in temporal order.
    """
    lines = _read_lines(image_set)
    columns = len(lines[0])
    wrong = [' '.join(line) for line in lines if len(line) != columns]
    if wrong or columns not in (1, 2, 4):
        raise ValueError(
            f'{image_set}: all lines must be "path first_id 0 length", "path 1 frame length", '
            f'"path/frame id" or "path", but there is {(wrong or lines)[0]!r}'
        )
    lines = list(dict.fromkeys(map(tuple, lines)))
    frames = _four_columns(lines) if columns == 4 else _paths(lines, Path(ann_dir))
    videos: dict[str, dict[int, ListedFrame]] = {}
    for frame in frames:
        videos.setdefault(frame.video, {}).setdefault(frame.frame_id, frame)
    picked = []
    for video in videos.values():
        ordered = [video[frame_id] for frame_id in sorted(video)]
        picked += [ordered[i] for i in spaced(len(ordered), frames_per_video)]
    return picked


def spaced(length: int, count: int | None) -> list[int]:
    """Return ``count`` evenly spaced positions, each centered in its share of ``length``.

    15 of 300 are 10, 30, ..., 290, as in VID_train_15frames but for rounding. If there are no more
    than ``count``, all are returned.
    """
    if count is None or count >= length:
        return list(range(length))
    return [(2 * i + 1) * length // (2 * count) for i in range(count)]


def _four_columns(lines: Sequence[Sequence[str]]) -> list[ListedFrame]:
    rows = [(line[0], *map(int, line[1:])) for line in lines]
    if any(row[2] for row in rows):
        return [ListedFrame(video, frame, length, None) for video, _, frame, length in rows]
    return [
        ListedFrame(video, index, length, first + index)
        for video, first, _, length in rows
        for index in range(length)
    ]


def _paths(lines: Sequence[Sequence[str]], ann_dir: Path) -> list[ListedFrame]:
    """Return the frames of a list with one or two columns: paths of frames or of whole videos."""
    frames = []
    for path, *number in lines:
        video, _, name = path.rpartition('/')
        if video and name.isdigit():
            frames.append(ListedFrame(video, int(name), None, int(number[0]) if number else None))
        else:
            files = sorted((ann_dir / path).glob('*.xml'))
            ids = [int(file.stem) for file in files if file.stem.isdigit()]
            if not ids:
                raise ValueError(f'{str(ann_dir / path)!r} has no annotation files 000000.xml, ...')
            frames += [ListedFrame(path, frame, len(ids), None) for frame in ids]
    counts = Counter(frame.ilsvrc_id for frame in frames)
    if None in counts or max(counts.values()) > 1:
        # A second column with repeated numbers is a flag, not an id.
        frames = [frame._replace(ilsvrc_id=None) for frame in frames]
    return frames


def _read_all(paths: list[str], ann_dir: str | Path, workers: int) -> list[tuple | str]:
    """Return the content of each annotation file, or why it cannot be read."""
    read = partial(_read_or_reason, ann_dir=str(ann_dir))
    contents = pool_map(read, paths, workers, _FILES_AT_ONCE)
    return list(track(contents, 'annotations', len(paths), 'files'))


def _read_or_reason(path: str, ann_dir: str) -> tuple[dict, list[dict]] | str:
    try:
        return read_xml(f'{ann_dir}/{path}.xml')
    except FileNotFoundError:
        return 'missing'
    except (OSError, ValueError, TypeError, LookupError, ET.ParseError) as error:
        return f'{type(error).__name__}: {error}'


def read_xml(path: str | Path) -> tuple[dict, list[dict]]:
    """Read an annotation file: image size, and objects as annotations with the class's ``wnid``."""
    root = ET.parse(path).getroot()
    size = {side: int(_number(root, f'size/{side}')) for side in ('width', 'height')}
    return size, [_read_object(node) for node in root.iter('object')]


def _read_object(node: ET.Element) -> dict:
    sides = ('xmin', 'ymin', 'xmax', 'ymax')
    xmin, ymin, xmax, ymax = (_number(node, f'bndbox/{side}') for side in sides)
    width, height = xmax - xmin, ymax - ymin
    annotation = dict(
        wnid=(node.findtext('name') or '').strip(),
        bbox=[xmin, ymin, width, height],
        area=width * height,
        iscrowd=0,
    )
    for flag in ('occluded', 'generated'):
        annotation[flag] = node.find(flag) is not None and _number(node, flag) != 0
    if node.find('trackid') is not None:
        annotation['track_id'] = int(_number(node, 'trackid'))
    return annotation


def _number(node: ET.Element, path: str) -> float:
    return float(node.findtext(path))
