"""Reading, checking and ordering of COCO-VID json files.

COCO-VID is COCO json with ``videos: [{id, name, ...}]``; each image has ``video_id`` and ``frame_id`` (0-based in the
video), annotations have ``instance_id``. In plain COCO json every image is a video of one frame. Optional keys are
``is_labeled`` of an image (default true) and ``frame_pattern`` of a video, see
:class:`~semidff.datasets.CocoVIDDataset`.

Values that can be converted without loss are: ``3.0`` and ``'003'`` to an integer, ids that are texts to numbers.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.fileio import get_local_path

from semidff.utils.error_messages import short
from semidff.utils.logs import log_warning

LARGEST_COORDINATE = 1e6  # pixels


class Field(NamedTuple):
    """What a key may hold: ``convert`` returns the value, or raises an error if it is wrong."""

    convert: Callable[[Any], Any]
    expected: str
    required: bool = False


def _integer(value: Any, low: float = -math.inf, high: float = math.inf) -> int:
    number = int(value)
    if isinstance(value, bool) or not low <= number <= high:
        raise ValueError
    if not isinstance(value, str) and number != value:
        raise ValueError
    return number


def _id(value: Any) -> int | str:
    try:
        return _integer(value)
    except ValueError:
        if isinstance(value, str) and value.strip():
            return value
        raise


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError
    return value


def _name(value: Any) -> str:
    if type(value) not in (str, int, float) or not str(value).strip():
        raise ValueError
    return str(value)


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _pattern(value: Any) -> str:
    # Wider numbers would make names of any length.
    if not re.fullmatch(r'([^%]|%%)*%(0[0-9]{1,2})?d([^%]|%%)*', value):
        raise ValueError
    return value


def _box(value: Any) -> list[float]:
    if len(value) != 4 or not all(abs(_number(part)) <= LARGEST_COORDINATE for part in value):
        raise ValueError
    return value


_SIDE = Field(lambda value: _integer(value, 1, 10**5), 'an integer from 1 to 100000', True)
_FRAME = Field(lambda value: _integer(value, 0, 10**7), 'an integer from 0 to 10000000')
_ID = Field(_id, 'an integer or a text')
_NEEDED_ID = _ID._replace(required=True)
_NAME = Field(_name, 'a text')
_NUMBER = Field(_number, 'a finite number')
_FLAG = Field(_flag, 'true or false')
_PATTERN = Field(_pattern, 'a text with exactly one place for the frame number, %d or %06d')
SCHEMA = {
    'categories': dict(id=_NEEDED_ID, name=_NAME._replace(required=True)),
    'videos': dict(id=_NEEDED_ID, name=_NAME, length=_FRAME, frame_pattern=_PATTERN),
    'images': dict(
        id=_NEEDED_ID,
        file_name=_NAME._replace(required=True),
        width=_SIDE,
        height=_SIDE,
        video_id=_ID,
        frame_id=_FRAME,
        video_length=_FRAME,
        ilsvrc_id=Field(_integer, 'an integer'),
        is_labeled=_FLAG,
    ),
    'annotations': dict(
        image_id=_NEEDED_ID,
        category_id=_NEEDED_ID,
        bbox=Field(_box, '[x, y, width, height] in pixels, finite', True),
        area=_NUMBER,
        iscrowd=_FLAG,
        score=_NUMBER,
        instance_id=_ID,
    ),
}
# Where each kind of id occurs, the entries that it names first.
IDS = {
    'category': (('categories', 'id'), ('annotations', 'category_id')),
    'video': (('videos', 'id'), ('images', 'video_id')),
    'image': (('images', 'id'), ('annotations', 'image_id')),
    'instance': (('annotations', 'instance_id'),),
}


def load_vid_json(ann_file: str, backend_args: dict | None = None) -> dict:
    """Read a COCO or COCO-VID json file.

    Annotations without a box, with a negative width or height, or of images that are not listed are left out, with a
    warning.

    Args:
        ann_file: Path or URL.

    Returns:
        Content of the file; ``images``, ``annotations``, ``categories`` and ``videos`` are lists. Keys of their
        entries whose value is null are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not json, or not valid COCO-VID: with one line for each kind of error, how often it
            occurs, and the first place.
    """
    if '://' not in str(ann_file) and not Path(ann_file).is_file():
        raise FileNotFoundError(
            f'annotation file {str(ann_file)!r} does not exist; check ann_file and data_root of '
            'the config'
        )
    with get_local_path(ann_file, backend_args=backend_args) as path:
        try:
            content = json.loads(Path(path).read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{ann_file} is not a json file: {error}') from error
    check_vid_json(content, str(ann_file))
    return content


def check_vid_json(content: Any, source: str) -> None:
    """Check and convert the content of a json in place, see :func:`load_vid_json`."""
    problems, given = [], content if isinstance(content, dict) else {}
    if given.get('videos') is None:
        given['videos'] = []  # they are optional
    for name, fields in SCHEMA.items():
        entries = given.get(name)
        if not isinstance(entries, list):
            raise ValueError(f'{source} is not a COCO json file: it has no list {name!r}')
        if bad := [place for place, entry in enumerate(entries) if not isinstance(entry, dict)]:
            raise ValueError(
                f'{source} is not a COCO json file: {name}[{bad[0]}] is {short(entries[bad[0]])}, not an object'
            )
        given[name] = [
            {key: value for key, value in entry.items() if value is not None} for entry in entries
        ]
        if name == 'annotations':
            _leave_out(given, source, 'have no box', lambda entry: not entry.get('bbox'))
        problems += _convert(name, given[name], fields)
    if not given['images']:
        raise ValueError(f'{source} has no images')
    problems = problems or _match_ids(given, source)
    if problems:
        several = f'{len(problems)} kinds of errors:\n  ' if len(problems) > 1 else ''
        raise ValueError(f'{source}: {several}' + '\n  '.join(problems))
    negative = 'have a negative width or height'
    _leave_out(given, source, negative, lambda entry: min(entry['bbox'][2:]) < 0)


def _leave_out(content: dict, source: str, why: str, is_wrong: Callable[[dict], bool]) -> None:
    kept = [entry for entry in content['annotations'] if not is_wrong(entry)]
    if left := len(content['annotations']) - len(kept):
        log_warning(f'{source}: {left} of {left + len(kept)} annotations {why} and are left out')
    content['annotations'] = kept


def _convert(name: str, entries: list[dict], fields: dict[str, Field]) -> list[str]:
    problems = []
    for key, field in fields.items():
        missing, wrong = [], []
        for place, entry in enumerate(entries):
            if key in entry:
                try:
                    entry[key] = field.convert(entry[key])
                except (ValueError, TypeError, OverflowError):
                    wrong.append(place)
            elif field.required:
                missing.append(place)
        several = f'of {len(entries)} {name} have'
        if missing:
            first = _at(name, entries, missing[0])
            problems.append(f'{len(missing)} {several} no {key}, first {first}')
        if wrong:
            first = f'{_at(name, entries, wrong[0])}: {short(entries[wrong[0]][key])}'
            problems.append(
                f'{len(wrong)} {several} a {key} that is not {field.expected}, first {first}'
            )
    return problems


def _match_ids(content: dict, source: str) -> list[str]:
    """Check that ids are unique and references lead to an entry; replace ids that are texts by numbers."""
    problems = []
    for places in IDS.values():
        found = [entry[key] for name, key in places for entry in content[name] if key in entry]
        if any(isinstance(value, str) for value in found):
            numbers = {value: number for number, value in enumerate(dict.fromkeys(found), 1)}
            for name, key in places:
                for entry in content[name]:
                    if key in entry:
                        entry[key] = numbers[entry[key]]
        named, key = places[0]
        if key != 'id' or not content[named]:
            continue  # videos are optional
        ids: set[int] = set()
        entries = content[named]
        again = [n for n, e in enumerate(entries) if e['id'] in ids or ids.add(e['id'])]
        if again:
            first = _at(named, entries, again[0])
            problems.append(
                f'{len(again)} of {len(entries)} {named} have the id of another one, first {first}'
            )
        name, key = places[1]
        entries = content[name]
        if key == 'image_id':
            why = f'have an {key} that none of the images has'
            _leave_out(content, source, why, lambda entry, ids=ids: entry['image_id'] not in ids)
        elif lost := [n for n, e in enumerate(entries) if key in e and e[key] not in ids]:
            problems.append(
                f'{len(lost)} of {len(entries)} {name} have a {key} that none of the {named} has, first '
                f'{_at(name, entries, lost[0])}: {short(entries[lost[0]][key])}'
            )
    return problems


def _at(name: str, entries: list[dict], place: int) -> str:
    entry = entries[place]
    known = ', '.join(f'{key} {short(entry[key])}' for key in ('id', 'file_name') if key in entry)
    return f'{name}[{place}]' + (f' ({known})' if known else '')


def ordered_frames(content: dict, source: str) -> list[dict]:
    """Return the images of a json, sorted by video and frame.

    Returns:
        One dict per image with the image's entries and ``video_id``, ``frame_id``, ``video_name``
        and ``video_length`` in frames.

    Raises:
        ValueError: If only some images belong to videos, an image has no ``frame_id``, or two
            images are the same frame.
    """
    images = content['images']
    without = [image for image in images if image.get('video_id') is None]
    if 0 < len(without) < len(images):
        raise ValueError(
            f'{source}: {len(without)} of {len(images)} images have no video_id, first '
            f'{without[0].get("file_name")!r}; give every image video_id and frame_id'
        )
    if without:
        ordered = sorted(images, key=lambda image: image['id'])
        one = dict(frame_id=0, video_length=1)
        return [dict(i, video_id=i['id'], video_name=i['file_name'], **one) for i in ordered]
    for image in images:
        if image.get('frame_id') is None:
            raise ValueError(
                f'{source}: image {image["file_name"]!r} has a video_id but no frame_id; '
                'number the frames of each video from 0'
            )
    frames = sorted(images, key=lambda image: (image['video_id'], image['frame_id']))
    for before, after in pairwise(frames):
        if (before['video_id'], before['frame_id']) == (after['video_id'], after['frame_id']):
            raise ValueError(
                f'{source}: {before.get("file_name")!r} and {after.get("file_name")!r} are both '
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


def frame_patterns(content: dict) -> dict[int, str]:
    """Return ``frame_pattern`` by the id of each video that has one."""
    return {v['id']: v['frame_pattern'] for v in content['videos'] if v.get('frame_pattern')}


def match_classes(
    content: dict, classes: Sequence[str] | None, source: str
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Map the categories of a json to labels. Categories of one name are one class.

    Args:
        classes: Classes of the config, in any order; None takes those of the json.

    Returns:
        The classes, and the label (index of the class) by category id. Categories of other classes have no label.

    Raises:
        ValueError: If a class is missing in the json.
    """
    names = list(dict.fromkeys(category['name'] for category in content['categories']))
    classes = tuple(names if classes is None else classes)
    if missing := set(classes).difference(names):
        raise ValueError(
            f"{source} has other classes than the config's metainfo, which has {sorted(missing)}, too.\n"
            f'  json:     {names}\n  metainfo: {list(classes)}\n'
            'Set metainfo=dict(classes=...) of the dataset to names of the json, and num_classes of the model to their '
            'number.'
        )
    labels = {name: label for label, name in enumerate(classes)}
    ids = {c['id']: labels[c['name']] for c in content['categories'] if c['name'] in labels}
    return classes, ids
