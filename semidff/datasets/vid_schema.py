"""Validation of COCO-VID json: what its entries hold, that ids are unique, and that references lead somewhere.

One pass over plain Python values: a million boxes take about two seconds, less than reading them. A general schema
library checks neither unique ids nor references, which are what goes wrong unnoticed.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from semidff.utils.error_messages import short
from semidff.utils.setting_checks import number, whole

LARGEST_COORDINATE = 1e6  # pixels
LARGEST_SIDE = 10**5  # pixels
LARGEST_FRAME = 10**7  # frames of a video


class Field(NamedTuple):
    """What a key of an entry may hold; entries without the key, or with null, are valid unless it is required."""

    valid: Callable[[Any], bool]
    expected: str
    required: bool = False


def _text(value: Any) -> bool:
    return type(value) is str and bool(value.strip()) and '\0' not in value


def _pattern(value: Any) -> bool:
    # Wider numbers would make names of any length.
    return _text(value) and bool(re.fullmatch(r'([^%]|%%)*%(0[0-9]{1,2})?d([^%]|%%)*', value))


def _box(value: Any) -> bool:
    # Comparisons with NaN are false.
    return (
        type(value) is list
        and len(value) == 4
        and all(type(part) in (int, float) and abs(part) <= LARGEST_COORDINATE for part in value)
        and value[2] >= 0
        and value[3] >= 0
    )


_ID = Field(whole(), 'an integer', required=True)
_SIDE = Field(whole(1, LARGEST_SIDE), f'an integer from 1 to {LARGEST_SIDE}', required=True)
_FRAME = Field(whole(0, LARGEST_FRAME), f'an integer from 0 to {LARGEST_FRAME}')
_NAME = Field(_text, 'a text')
_PATTERN = Field(_pattern, 'a text with exactly one place for the frame number, %d or %06d')
_OPTIONAL_ID = _ID._replace(required=False)

SCHEMA = {
    'categories': dict(id=_ID, name=_NAME._replace(required=True)),
    'videos': dict(id=_ID, name=_NAME, length=_FRAME, frame_pattern=_PATTERN),
    'images': dict(
        id=_ID,
        file_name=_NAME._replace(required=True),
        width=_SIDE,
        height=_SIDE,
        video_id=_OPTIONAL_ID,
        frame_id=_FRAME,
        video_length=_FRAME,
        ilsvrc_id=_OPTIONAL_ID,
        is_labeled=Field(lambda value: type(value) is bool, 'true or false'),
        # The key of version 0.1: unknown keys are ignored, and unlabeled frames would be taken for empty ones.
        is_labelled=Field(lambda value: False, 'renamed to is_labeled'),
    ),
    'annotations': dict(
        id=_OPTIONAL_ID,
        image_id=_ID,
        category_id=_ID,
        bbox=Field(
            _box,
            '[x, y, width, height] in pixels, finite, width and height not negative',
            required=True,
        ),
        area=Field(number(), 'a finite number'),
        iscrowd=Field(lambda value: value in (0, 1), '0 or 1'),
        score=Field(number(), 'a finite number'),
        instance_id=_OPTIONAL_ID,
    ),
}
UNIQUE = (
    ('categories', 'id'), ('categories', 'name'), ('videos', 'id'), ('images', 'id'),
    ('annotations', 'id'),
)  # fmt: skip
REFERENCES = (
    ('annotations', 'image_id', 'images'),
    ('annotations', 'category_id', 'categories'),
    ('images', 'video_id', 'videos'),
)


def check_vid_json(content: Any, source: str) -> None:
    """Check the content of a COCO or COCO-VID json.

    Args:
        content: The parsed json.
        source: Its file, for messages.

    Raises:
        ValueError: With one line for each kind of error: how often it occurs, and the first place.
    """
    problems = []
    for name, fields in SCHEMA.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if entries is None and name == 'videos' and isinstance(content, dict):
            content['videos'] = []
        elif not isinstance(entries, list):
            raise ValueError(f'{source} is not a COCO json file: it has no list {name!r}')
        elif bad := _places(not isinstance(entry, dict) for entry in entries):
            raise ValueError(
                f'{source} is not a COCO json file: {name}[{bad[0]}] is {short(entries[bad[0]])}, not an object'
            )
        else:
            problems += _check_fields(name, entries, fields)
    if not content['images']:
        raise ValueError(f'{source} has no images')
    if not problems:
        problems = _check_ids(content)
    if problems:
        several = f'{len(problems)} kinds of errors:\n  ' if len(problems) > 1 else ''
        raise ValueError(f'{source}: {several}' + '\n  '.join(problems))


def _check_fields(name: str, entries: list[dict], fields: dict[str, Field]) -> list[str]:
    problems = []
    for key, field in fields.items():
        values = [entry.get(key) for entry in entries]
        if field.required and (bad := _places(value is None for value in values)):
            problems.append(
                f'{len(bad)} of {len(entries)} {name} have no {key}, first {_at(name, entries, bad[0])}'
            )
        if bad := _places(value is not None and not field.valid(value) for value in values):
            problems.append(
                f'{len(bad)} of {len(entries)} {name} have a {key} that is not {field.expected}, first '
                f'{_at(name, entries, bad[0])}: {short(values[bad[0]])}'
            )
    return problems


def _check_ids(content: dict) -> list[str]:
    problems = []
    for name, key in UNIQUE:
        seen: set = set()
        values = [entry.get(key) for entry in content[name]]
        bad = [
            place for place, value in enumerate(values)
            if value is not None and (value in seen or seen.add(value))
        ]  # fmt: skip
        if bad:
            problems.append(
                f'{len(bad)} of {len(values)} {name} have the {key} of another one, first '
                f'{name}[{bad[0]}]: {short(values[bad[0]])}'
            )
    for name, key, others in REFERENCES:
        if others == 'videos' and not content['videos']:
            continue  # they are optional
        known = {entry['id'] for entry in content[others]}
        values = [entry.get(key) for entry in content[name]]
        if bad := _places(value is not None and value not in known for value in values):
            problems.append(
                f'{len(bad)} of {len(values)} {name} have a {key} that none of the {others} has, first '
                f'{_at(name, content[name], bad[0])}: {short(values[bad[0]])}'
            )
    return problems


def _places(wrong: Iterable[bool]) -> list[int]:
    return [place for place, is_wrong in enumerate(wrong) if is_wrong]


def _at(name: str, entries: list[dict], place: int) -> str:
    entry = entries[place]
    known = ', '.join(f'{key} {short(entry[key])}' for key in ('id', 'file_name') if key in entry)
    return f'{name}[{place}]' + (f' ({known})' if known else '')
