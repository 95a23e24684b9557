"""Broken and hostile files for the tools that need no model, made by code."""

import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from tests.robustness.verdict import Case
from tests.test_datasets.test_vid_json_checks import CHANGES, valid
from tests.test_utils.test_safe_loading import FORMATS, Touch

EVALUATE = ('--ann-file', 'val.json', '--detections', 'd.txt', '--out', 'r.json')
ROWS = '0 1 0.9 1 2 3 4\n'


def annotations(folder: Path, content: object = None, detections: str | bytes = '') -> None:
    """Write val.json and d.txt."""
    text = (
        content if isinstance(content, str) else json.dumps(valid() if content is None else content)
    )
    (folder / 'val.json').write_text(text)
    data = detections if isinstance(detections, bytes) else detections.encode()
    (folder / 'd.txt').write_bytes(data)


def wrong_annotations() -> Iterator[Case]:
    make = partial(Case, tool='eval_detections.py', arguments=EVALUATE)
    for name, key, value in CHANGES:
        content = valid()
        content[name][0][key] = value
        yield make(
            f'annotations: {name}.{key} = {value!r}',
            words=rf'val\.json: .*{name} have .*{key}',
            make=partial(annotations, content=content),
        )
    for name in ('images', 'annotations', 'categories', 'videos'):
        for value in ({}, [1]):
            yield make(
                f'annotations: {name} = {value!r}',
                words=r'val\.json is not a COCO json file',
                make=partial(annotations, content=valid() | {name: value}),
            )
    texts = ('', '[]', '{"images": [', '[' * 100_000, '{}')
    for text in texts:
        yield make(
            f'annotations: {text[:9]!r}',
            words=r'val\.json is not a (COCO )?json file',
            make=partial(annotations, content=text),
        )


def wrong_detections() -> Iterator[Case]:
    make = partial(Case, tool='eval_detections.py', arguments=EVALUATE)
    line = ROWS.split()
    values = ('', 'x', 'nan', '1e999')
    for column in range(7):
        for value in values:
            words = [*line[:column], value, *line[column + 1 :]]
            yield make(
                f'detections: column {column} = {value!r}',
                words=r'd\.txt, line 2: ',
                make=partial(annotations, detections=ROWS + ' '.join(words) + '\n'),
            )
    for column, value in ((0, '0.5'), (1, '0'), (1, '3'), (1, '1.5')):
        words = [*line[:column], value, *line[column + 1 :]]
        yield make(
            f'detections: column {column} = {value!r}',
            words=r'd\.txt, line 1: ',
            make=partial(annotations, detections=' '.join(words)),
        )
    for text in ('1 2 3\n', ROWS.strip() + ' 5\n', b'\xff\xfe\0\1'):
        yield make(
            f'detections: {text[:9]!r}',
            words=r'd\.txt, line 1: ',
            make=partial(annotations, detections=text),
        )


XML = (
    '<annotation><size><width>{width}</width><height>{height}</height></size><object><trackid>{track}</trackid>'
    '<name>{name}</name><bndbox><xmax>{xmax}</xmax><xmin>{xmin}</xmin><ymax>{ymax}</ymax><ymin>{ymin}</ymin></bndbox>'
    '<occluded>{occluded}</occluded><generated>0</generated></object></annotation>'
)
GOOD = dict(
    width=64, height=48, track=0, name='n02084071', xmin=1, ymin=2, xmax=9, ymax=8, occluded=0
)
CONVERT = (
    'imagenet-vid',
    '--ann-dir',
    'ann',
    '--image-set',
    'set.txt',
    '--out',
    'val.json',
    '--workers',
    '1',
)


def xml_folder(folder: Path, text: str | bytes, listed: str | bytes = 'a/000000 1\n') -> None:
    """Write an annotation folder with one file, and a list."""
    (folder / 'ann' / 'a').mkdir(parents=True)
    data = text if isinstance(text, bytes) else text.encode()
    (folder / 'ann' / 'a' / '000000.xml').write_bytes(data)
    (folder / 'set.txt').write_bytes(listed if isinstance(listed, bytes) else listed.encode())


def wrong_xml() -> Iterator[Case]:
    make = partial(Case, tool='convert_dataset.py', arguments=CONVERT)
    words = 'none of the 1 annotation files.*first a/000000.xml: '
    values = ('', 'x', 'nan')
    changes = [(key, value) for key in GOOD if key != 'name' for value in values]
    changes += [('width', 0), ('height', -5), ('xmin', -9), ('xmax', 0), ('ymax', 1), ('name', ' ')]
    for key, value in changes:
        text = XML.format(**GOOD | {key: value})
        yield make(f'XML: {key} = {value!r}', words=words, make=partial(xml_folder, text=text))
    good = XML.format(**GOOD)
    bomb = (
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
        + ''.join(
            f'<!ENTITY {b} "{f"&{a};" * 10}">'
            for a, b in zip('abcdefghi', 'bcdefghij', strict=True)
        )
        + ']><annotation>&j;</annotation>'
    )
    external = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><size><width>&x;</width></size></annotation>'
    for text in ('', '<a>', good[:60], b'\xff\xfe', bomb, external):
        yield make(f'XML: {text[:20]!r}', words=words, make=partial(xml_folder, text=text))
    lists = ('', 'a 1\nb\n', 'a b c\n', 'a x 0 3\n', 'none\n', 'a 1 0 ²\n', 'gone/000000 1\n')
    for text in lists:
        yield make(
            f'list: {text[:20]!r}',
            words=r'set\.txt',
            make=partial(xml_folder, text=good, listed=text),
        )


def checkpoint(folder: Path, content: object, form: str = 'zip', cut: float = 1) -> None:
    """Write a checkpoint, or its beginning, as w.pth."""
    FORMATS[form](content, folder / 'w.pth')
    data = (folder / 'w.pth').read_bytes()
    (folder / 'w.pth').write_bytes(data[: int(cut * len(data))])


class Code:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def wrong_checkpoints() -> Iterator[Case]:
    weights = dict(state_dict={f'a.{n}': torch.ones(9, 9) for n in range(5)}, meta={})
    readers = {
        'convert_checkpoint.py': ('join', '--part', 'x=w.pth', '--out', 'o.pth'),
    }
    payloads = dict(
        mkdir=Touch('touched'), system=Code(os.system, 'touch touched'), exec=Code(exec, 'x = 1'),
        eval=Code(eval, '1'), open=Code(open, 'touched', 'w'), getattr=Code(getattr, 1, 'real'),
        loads=Code(pickle.loads, b'N.'),
    )  # fmt: skip
    for tool, arguments in readers.items():
        make = partial(Case, tool=tool, arguments=arguments)
        for form in FORMATS:
            for name, payload in payloads.items():
                yield make(
                    f'{form} checkpoint: {name}',
                    words=r'w\.pth: (refused|cannot be read)',
                    make=partial(checkpoint, content=dict(weights, x=payload), form=form),
                )
        for cut in (0, 0.3, 0.99):
            yield make(
                f'checkpoint, {cut:.0%} of it',
                words=r'w\.pth: cannot be read',
                make=partial(checkpoint, content=weights, cut=cut),
            )
        for content in (None, [], {}, dict(state_dict=[1]), dict(a=3), dict(state_dict={})):
            yield make(
                f'checkpoint: {content!r}',
                words=r'w\.pth: holds no weights',
                make=partial(checkpoint, content=content),
            )
        yield make('checkpoint: none', words=r'w\.pth: there is no such', make=lambda folder: None)


def whole_params() -> bytes:
    """Return a file of MXNet with one array."""
    data = struct.pack('<QQQIiIQQII', 0x112, 0, 1, 0xF993FAC9, 0, 2, 3, 4, 1, 0) + struct.pack(
        '<i', 0
    )
    data += bytes(48) + struct.pack('<QQ', 1, 5) + b'arg:x'
    return data


def wrong_params() -> Iterator[Case]:
    make = partial(Case, tool='convert_checkpoint.py', arguments=('mxnet', 'p.params', 'o.pth'))
    whole = whole_params()
    for cut in range(0, len(whole), 20):
        yield make(
            f'params, {cut} bytes',
            words=r'p\.params: ',
            make=partial(one_file, 'p.params', whole[:cut]),
        )
    for at in range(0, 48, 9):
        data = whole[:at] + b'\xff\xff\xff' + whole[at + 3 :]
        yield make(
            f'params, damage at {at}',
            words=r'p\.params: ',
            make=partial(one_file, 'p.params', data),
        )


def one_file(name: str, data: bytes, folder: Path) -> None:
    (folder / name).write_bytes(data)


CASES = [
    *wrong_annotations(), *wrong_detections(), *wrong_xml(), *wrong_checkpoints(), *wrong_params(),
]  # fmt: skip
