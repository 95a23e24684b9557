"""Reading, checking and ordering of COCO-VID json files.

COCO-VID is COCO json with ``videos: [{id, name, ...}]``; each image has ``video_id`` and
``frame_id`` (0-based in the video), annotations have ``instance_id``. In plain COCO json every
image is a video of one frame. Optional keys are ``is_labeled`` of an image (default true) and
``frame_pattern`` of a video, see :class:`~semidff.datasets.CocoVIDDataset`.

Values that can be converted without loss are converted: ``3.0`` and ``'003'`` to integers, text ids
to numbers, backslashes in file names to slashes.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmengine.fileio import get_local_path

from semidff.utils.error_messages import short
from semidff.utils.logs import log_warning


def _integer(value: Any, low: float = -math.inf) -> int:
    number = int(value)
    if number < low or (not isinstance(value, str) and number != value):
        raise ValueError
    return number


def _id(value: Any) -> int | str:
    try:
        return _integer(value)
    except ValueError:
        return _name(value) if isinstance(value, str) else _integer(value)


def _box(value: Any) -> list[float]:
    if len(value) != 4 or not all(map(math.isfinite, value)):
        raise ValueError
    return value


def _name(value: Any) -> str:
    if type(value) not in (str, int, float) or not str(value).strip():
        raise ValueError
    return str(value)


def _file_name(value: Any) -> str:
    return _name(value).replace('\\', '/')  # of Windows


def _pattern(value: Any) -> str:
    str.__mod__(value, 0)
    return value


def _flag(value: Any) -> bool:
    return bool((False, True).index(value))


_side, _count = partial(_integer, low=1), partial(_integer, low=0)
# The function of a key converts its value, or raises an error if it is invalid. A list comes after
# the lists to which its entries refer.
_SCHEMA = {
    'categories': dict(id=_id, name=_name),
    'videos': dict(id=_id, name=_name, length=_count, frame_pattern=_pattern),
    'images': dict(
        id=_id,
        file_name=_file_name,
        width=_side,
        height=_side,
        video_id=_id,
        frame_id=_count,
        video_length=_count,
        is_labeled=_flag,
    ),
    'annotations': dict(image_id=_id, category_id=_id, bbox=_box, instance_id=_id),
}
_REQUIRED = {
    'categories': {'id', 'name'},
    'videos': {'id'},
    'images': {'id', 'file_name', 'width', 'height'},
    'annotations': {'image_id', 'category_id', 'bbox'},
}


def load_vid_json(ann_file: str, backend_args: dict | None = None) -> dict:
    """Read a COCO or COCO-VID json file.

    Annotations without a box, with a negative width or height, or of images that are not listed are
    left out, with a warning.

    Args:
        ann_file: Path or URL.

    Returns:
        Content of the file; ``images``, ``annotations``, ``categories`` and ``videos`` are lists,
        without the keys whose value is null.
    """
    with get_local_path(ann_file, backend_args=backend_args) as path:
        try:
            content = json.loads(Path(path).read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{ann_file} is not a json file: {error}') from error
    check_vid_json(content, str(ann_file))
    return content


def check_vid_json(content: Any, source: str) -> None:
    """Check and convert the content of a json in place, see :func:`load_vid_json`."""
    if isinstance(content, dict) and content.get('videos') is None:
        content['videos'] = []  # they are optional
    problems: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    first: dict[str, str] = {}
    ids: dict[str, set] = {}
    for name in _SCHEMA:
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f'{source} is not a COCO json file: it has no list of {name}')
        ids[name], kept = set(), []
        for place, original in enumerate(entries):
            entry = {key: value for key, value in original.items() if value is not None}
            wrong, unused = _convert(entry, name, ids), None
            if name == 'annotations' and not entry.get('bbox'):
                wrong, unused = [], 'have no box'
            elif name == 'annotations' and not wrong:
                unused = _why_unused(entry, ids['images'])
            for why in wrong:
                what = f'of {len(entries)} {name} have {why}'
                problems[what] += 1
                first.setdefault(what, f'{name}[{place}]: {short(original)}')
            if unused:
                left_out[unused] += 1
            else:
                kept.append(entry)
        content[name] = kept
    if not content['images']:
        raise ValueError(f'{source} has no images')
    if problems:
        lines = [f'{count} {what}, first {first[what]}' for what, count in problems.items()]
        several = f'{len(lines)} kinds of errors:\n  ' if len(lines) > 1 else ''
        raise ValueError(f'{source}: {several}' + '\n  '.join(lines))
    if left_out:
        reasons = ', '.join(f'{count} {why}' for why, count in left_out.items())
        log_warning(f'{source}: annotations are left out of {len(entries)}: {reasons}')
    lists = dict(category_id='categories', video_id='videos', image_id='images')
    referring = content['images'] + content['annotations']
    for key in (*lists, 'instance_id'):  # if some ids are texts, all become numbers
        places = [(entry, 'id') for entry in content[lists[key]]] if key in lists else []
        places += [(entry, key) for entry in referring if key in entry]
        if any(isinstance(entry[key], str) for entry, key in places):
            numbers: dict[int | str, int] = {}
            for entry, key in places:
                entry[key] = numbers.setdefault(entry[key], len(numbers) + 1)


def _convert(entry: dict, name: str, ids: dict[str, set]) -> list[str]:
    """Convert the values of an entry, note its id; return what is wrong with them."""
    wrong = []
    for key, convert in _SCHEMA[name].items():
        if key not in entry:
            wrong += [f'no {key}'] if key in _REQUIRED[name] else []
            continue
        try:
            entry[key] = value = convert(entry[key])
        except (ValueError, TypeError, OverflowError):
            wrong.append(f'an invalid {key}')
            continue
        if key == 'id':
            wrong += ['the id of another entry'] if value in ids[name] else []
            ids[name].add(value)
        elif key == 'category_id' and value not in ids['categories']:
            wrong.append('a category_id without a category')
        elif key == 'video_id' and ids['videos'] and value not in ids['videos']:
            wrong.append('a video_id without a video')
    return wrong


def _why_unused(annotation: dict, images: set) -> str | None:
    if annotation['image_id'] not in images:
        return 'have an image_id without an image'
    return 'have a negative width or height' if min(annotation['bbox'][2:]) < 0 else None


def ordered_frames(content: dict, source: str) -> list[dict]:
    """Return the images by video and frame, with ``video_name`` and ``video_length``."""
    images = content['images']
    without = [image for image in images if 'video_id' not in image]
    if len(without) == len(images):
        ordered = sorted(images, key=lambda image: image['id'])
        alone = dict(frame_id=0, video_length=1)
        return [dict(i, video_id=i['id'], video_name=i['file_name'], **alone) for i in ordered]
    without = without or [image for image in images if 'frame_id' not in image]
    if without:
        raise ValueError(
            f'{source}: {len(without)} of {len(images)} images have no video_id or frame_id, first '
            f'{without[0]["file_name"]!r}; number the frames of each video from 0'
        )
    frames = sorted(images, key=lambda image: (image['video_id'], image['frame_id']))
    for before, after in pairwise(frames):
        if (before['video_id'], before['frame_id']) == (after['video_id'], after['frame_id']):
            raise ValueError(
                f'{source}: {before["file_name"]!r} and {after["file_name"]!r} are both '
                f'frame {after["frame_id"]} of video {after["video_id"]}'
            )
    videos = {video['id']: video for video in content['videos']}
    last = {frame['video_id']: frame['frame_id'] for frame in frames}
    for index, frame in enumerate(frames):
        video = videos.get(frame['video_id'], {})
        length = video.get('length') or frame.get('video_length') or last[frame['video_id']] + 1
        name = video.get('name', str(frame['video_id']))
        frames[index] = dict(frame, video_name=name, video_length=length)
    return frames


def check_frames_between(lengths: Iterable[int], source: str, what: str) -> None:
    """Raise a ValueError if all videos are single frames, which have no non-key frames."""
    if not any(length > 1 for length in lengths):
        raise ValueError(
            f'{source}: each of its videos is a single frame, so that every frame is a key frame '
            f'and {what} cannot be measured: give the images of a video the same video_id, and '
            'frame_id 0, 1, 2, ...'
        )


def image_folder(ann_file: str | Path, file_name: str) -> Path:
    """Return the default folder of a json's images: beside it with its name, or its own."""
    beside = Path(ann_file).with_suffix('')
    return beside if (beside / file_name).is_file() else Path(ann_file).parent


def match_classes(
    content: dict, classes: Sequence[str] | None, source: str, some: bool = False
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Map the categories of a json to labels by name. Categories with the same name are one class.

    With ``some``, for an evaluation, the json may lack all but one of the classes; a training would
    take their objects for background.

    Returns:
        The classes, by default those of the json, and the label (index of the class) of each
        category id. Categories of other classes have no label.
    """
    names = list(dict.fromkeys(category['name'] for category in content['categories']))
    classes = tuple(names if classes is None else classes)
    if some and not set(classes).intersection(names):
        raise ValueError(
            f'{source}: none of its classes {short(names)} is a class of the detector, '
            f'{short(list(classes))}'
        )
    if (missing := set(classes).difference(names)) and not some:
        raise ValueError(
            f"{source} has other classes than the config's metainfo: it lacks {sorted(missing)}.\n"
            f'  json:     {names}\n  metainfo: {list(classes)}\n'
            'Set metainfo=dict(classes=...) of the dataset to names of the json, and num_classes '
            'of the model to their number.'
        )
    labels = {name: label for label, name in enumerate(classes)}
    ids = {c['id']: labels[c['name']] for c in content['categories'] if c['name'] in labels}
    return classes, ids
