"""Random damage to annotations, XML, lists and MXNet files: every reader ends with its own error or a result.

Reproducible with ``pytest tests/robustness/test_fuzz.py``; ``SEMIDFF_FUZZ_SECONDS=600`` fuzzes for longer, with new
seeds.
"""

import json
import os
import random
import struct
import time
from pathlib import Path

import pytest

from semidff.converters.ilsvrc.image_set import read_video_image_set
from semidff.converters.ilsvrc.xml_file import read_xml
from semidff.converters.mxnet.params_file import MXNetFileError, read_params
from semidff.datasets.ilsvrc_format import read_detections
from semidff.datasets.vid_json import load_vid_json, match_classes, ordered_frames
from semidff.datasets.video_list import VideoListError, load_videos
from tests.robustness.data_cases import GOOD, ROWS, XML
from tests.test_datasets.test_vid_schema import valid

SECONDS = float(os.environ.get('SEMIDFF_FUZZ_SECONDS', 0))
ROUNDS = 60
VALUES = (
    None,
    True,
    0,
    -1,
    1e308,
    float('nan'),
    2**70,
    '',
    'x',
    '\0',
    '\ud800',
    [],
    [[]],
    {},
    {'id': 1},
)


def annotations(path: Path) -> None:
    content = load_vid_json(str(path))
    match_classes(content, None, str(path))
    ordered_frames(content, str(path))


def some_params() -> bytes:
    data = struct.pack('<QQQIiIQQii', 0x112, 0, 1, 0xF993FAC9, 0, 2, 3, 4, 1, 0)
    return data + struct.pack('<i', 0) + bytes(48) + struct.pack('<QQ', 1, 5) + b'arg:x'


READERS = {
    'json': (annotations, lambda: json.dumps(valid()).encode(), ValueError),
    'xml': (read_xml, lambda: XML.format(**GOOD).encode(), ValueError),
    'set': (
        lambda path: read_video_image_set(path, path.parent),
        lambda: b'a/b 1 0 30\nc/d 31 0 5\n',
        ValueError,
    ),
    'detections': (lambda path: read_detections(path, 2), lambda: ROWS.encode() * 3, ValueError),
    'videos': (load_videos, lambda: b'a.mp4\n# comment\nb/*.mp4\n', VideoListError),
    'params': (read_params, some_params, MXNetFileError),
}


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Change some bytes, cut, repeat or insert."""
    data = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at, kind = dice.randrange(len(data) + 1), dice.randrange(5)
        if kind == 0:
            data[at : at + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = data[max(0, at - dice.randrange(40)) : at] * dice.randint(1, 9)
        elif kind == 3:
            del data[at : at + dice.randrange(9)]
        else:
            data[at:at] = dice.choice(
                (b'-', b'9' * 30, b'"', b'[', b'<', b'\0', b'\xff\xff\xff\xff', b'nan', b'1e999')
            )
    return bytes(data)


def changed(value: object, dice: random.Random) -> object:
    """Replace one value inside a json."""
    if isinstance(value, dict | list) and value and dice.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = dice.choice(keys)
        value[key] = changed(value[key], dice)
        return value
    return dice.choice(VALUES)


def rounds() -> object:
    end, seed = time.monotonic() + SECONDS, 0
    while seed < ROUNDS or time.monotonic() < end:
        yield random.Random(seed)
        seed += 1


@pytest.mark.parametrize('kind', READERS)
def test_random_damage(tmp_path, kind):
    read, make, error = READERS[kind]
    path = tmp_path / f'file.{kind}'
    path.write_bytes(make())
    whole = make()
    for number, dice in enumerate(rounds()):
        data = damaged(whole, dice)
        path.write_bytes(data)
        start = time.monotonic()
        try:
            read(path)
        except error as found:
            assert str(found)
        except Exception as found:
            pytest.fail(f'round {number}: {type(found).__name__}: {found} of {data!r}')
        assert time.monotonic() - start < 30


def test_random_values_in_annotations(tmp_path):
    path = tmp_path / 'a.json'
    for number, dice in enumerate(rounds()):
        content = valid()
        for _ in range(dice.randint(1, 3)):
            changed(content, dice)
        path.write_text(json.dumps(content))
        try:
            annotations(path)
        except ValueError as found:
            assert str(found)
        except Exception as found:
            pytest.fail(f'round {number}: {type(found).__name__}: {found} of {content!r}')
