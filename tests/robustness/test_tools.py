"""Every bad input gets its verdict: a message, exit code 1 or 2, nothing written or lost, in time and memory."""

import json
import runpy
import struct
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.robustness.project import make_project
from tests.robustness.verdict import TOOLS, Case, check
from tests.test_datasets.test_vid_json import valid
from tests.test_utils.test_safe_loading import Touch

EVALUATE = ('--ann-file', 'val.json', '--detections', 'd.txt', '--out', 'r.json')
ROWS = '0 1 0.9 1 2 3 4\n'
XML = (
    '<annotation><size><width>{width}</width><height>48</height></size><object><trackid>0</trackid><name>{name}</name>'
    '<bndbox><xmax>9</xmax><xmin>1</xmin><ymax>8</ymax><ymin>2</ymin></bndbox>'
    '<occluded>0</occluded><generated>0</generated></object></annotation>'
)
GOOD = dict(width=64, name='n02084071')
CONVERT = ('imagenet-vid', '--ann-dir', 'ann', '--image-set', 'set.txt', '--workers', '1', '--out')
PARAMS = struct.pack('<QQQIiIQQII', 0x112, 0, 1, 0xF993FAC9, 0, 2, 3, 4, 1, 0) + bytes(52)
PARAMS += struct.pack('<QQ', 1, 5) + b'arg:x'
"""A file of MXNet with one array."""


def annotations(folder: Path, content: object = None, detections: str = ROWS) -> None:
    text = content if isinstance(content, str) else json.dumps(content or valid())
    (folder / 'val.json').write_text(text)
    (folder / 'd.txt').write_text(detections)


def xml_folder(folder: Path, text: str = XML.format(**GOOD), listed: str = 'a/000000 1\n') -> None:
    (folder / 'ann' / 'a').mkdir(parents=True)
    (folder / 'ann' / 'a' / '000000.xml').write_text(text)
    (folder / 'set.txt').write_text(listed)


def checkpoint(folder: Path, content: object, cut: float = 1) -> None:
    torch.save(content, folder / 'w.pth')
    data = (folder / 'w.pth').read_bytes()
    (folder / 'w.pth').write_bytes(data[: int(cut * len(data))])


def params(folder: Path, data: bytes) -> None:
    (folder / 'p.params').write_bytes(data)


def data_cases() -> Iterator[Case]:
    evaluate = partial(Case, tool='eval_detections.py', arguments=EVALUATE)
    wrong = valid()
    wrong['images'][1]['width'] = 0
    for content, words in (
        (wrong, r'val\.json: 1 of 3 images have a width .*first images\[1\]'),
        (valid() | {'images': [1]}, r'val\.json is not a COCO json file'),
        ('{"images": [', r'val\.json is not a json file'),
        ('[' * 100_000, r'val\.json is not a json file'),
    ):
        yield evaluate(str(content)[:99], words=words, make=partial(annotations, content=content))
    for row in ('0 1 x 1 2 3 4', '0 3 0.9 1 2 3 4', '0 1 0.9 1 2 nan 4', '1 2 3'):
        make = partial(annotations, detections=ROWS + row)
        yield evaluate(row, words=r'd\.txt: ', make=make)
    convert = partial(Case, tool='convert_dataset.py', arguments=(*CONVERT, 'val.json'))
    entities = ('<!ENTITY b "&a;&a;">', '<!ENTITY x SYSTEM "file:///etc/passwd">')
    for text in (
        '', '<a>', XML.format(**GOOD | {'width': 'nan'}), XML.format(**GOOD | {'name': ' '}),
        *(f'<!DOCTYPE a [{entity}]><a><size><width>&x;</width></size></a>' for entity in entities),
    ):  # fmt: skip
        words = 'none of the 1 annotation files.*first a/000000.xml: '
        yield convert(text[:99], words=words, make=partial(xml_folder, text=text))
    for listed in ('', 'a 1\nb\n', 'a x 0 3\n', 'none\n', 'gone/000000 1\n'):
        yield convert(listed, words=r'set\.txt', make=partial(xml_folder, listed=listed))
    weights = dict(state_dict={f'a.{n}': torch.ones(9, 9) for n in range(5)}, meta={})
    join = ('join', '--part', 'x=w.pth', '--out', 'o.pth')
    load = partial(Case, tool='convert_checkpoint.py', arguments=join)
    make = partial(checkpoint, content=dict(weights, x=Touch('touched')))
    yield load('code', words=r'w\.pth: refused', make=make)
    make = partial(checkpoint, content=weights, cut=0.3)
    yield load('cut', words=r'w\.pth: cannot be read', make=make)
    make = partial(checkpoint, content=dict(state_dict=[1]))
    yield load('no weights', words=r'w\.pth: holds no weights', make=make)
    mxnet = ('mxnet', 'p.params', 'o.pth')
    for data in (b'', PARAMS[:60], PARAMS[:9] + b'\xff\xff\xff' + PARAMS[12:]):
        make = partial(params, data=data)
        yield Case(f'params {data}', 'convert_checkpoint.py', mxnet, r'p\.params: ', make)


LOGS = r'work|t/\.videos\.txt'  # logs of a run, and what is known of its videos
DETECTOR = ('config.py', 'two.pth')
VIDEO = ('in.mp4', *DETECTOR, '--device', 'cpu')
# Tool, arguments, and the new or existing output.
OUTPUTS = (
    ('video_demo.py', (*VIDEO, '--json')),
    ('video_demo.py', (*VIDEO, '--txt')),
    ('test.py', (*DETECTOR, '--detections')),
    ('analysis/complexity.py', ('config.py', '--json')),
    ('eval_detections.py', ('--ann-file', 'config.py', '--detections', 'notes.txt', '--out')),
)
# Tool, arguments, options of which each is refused, words of the message.
OPTIONS = (
    ('video_demo.py', VIDEO, '--max-frames 0', 'max_frames'),
    ('video_demo.py', VIDEO, '--adaptive images/val.json', r'val\.json'),
    ('video_demo.py', VIDEO, '--method frame --panels flow', 'panel'),
    ('test.py', DETECTOR, '--protocol pairs --scene-cuts', 'leave out schedule'),
    ('test.py', DETECTOR, '--cfg-options test_dataloader.dataset.ann_file=gone.json', r'gone\.json'),
    ('test.py', DETECTOR, '--cfg-options model.detector.bbox_head.num_classes=7', r'two\.pth: does not fit'),
    ('train.py', ('train.py',), '--resume two.pth', 'no state of a training'),
    ('train.py', ('train.py',), '--cfg-options train_cfg.steps.0.trainable=[nope]', 'nope'),
    ('train.py', ('train.py',), '--cfg-options train_dataloader.dataset.dataset.ann_file=gone.txt', r'gone\.txt'),
    ('analysis/show_propagation.py',
     (*DETECTOR, 'in.mp4', '--current', '1', '--out', 'p.png', '--device', 'cpu'), '--key 99', '99'),
    ('run_experiment.py', ('exp.py', '--work-dir', 'o'), '--only nope', 'nope'),
)  # fmt: skip
FILES = (
    ('test.py', ('gone.py', 'two.pth'), r'gone\.py: there is no such config'),
    ('test.py', ('config.py', 'gone.pth'), r'gone\.pth: there is no such checkpoint'),
    ('test.py', ('config.py', 'notes.txt'), r'notes\.txt: cannot be read as a checkpoint'),
    ('video_demo.py', ('gone.mp4', *DETECTOR), r'gone\.mp4'),
    ('video_demo.py', ('notes.txt', *DETECTOR), r'notes\.txt'),
)
CONFIGS = ('model = (', '1 / 0', 'raise SystemExit(0)', '', "_base_ = 'gone.py'")


def tool_cases() -> Iterator[Case]:
    for tool, arguments in OUTPUTS:
        make = partial(Case, tool=tool, code=2)
        yield make(tool, arguments=(*arguments, 'mine/key.onnx'), words='exists already')
        own = (*arguments, 'sub/../config.py', '--overwrite')
        yield make(tool, arguments=own, words='would overwrite the input')
    own = (*VIDEO, '--json', 'o', '--txt', './o')
    yield Case('two outputs', 'video_demo.py', own, 'would overwrite the output', code=2)
    for tool, arguments, option, words in OPTIONS:
        yield Case(option, tool, (*arguments, *option.split(' ')), words, writes=LOGS)
    for tool, arguments, words in FILES:
        yield Case(str(arguments), tool, arguments, words, writes=LOGS)
    own = (*DETECTOR, '--protocol', 'x')
    yield Case('usage', 'test.py', own, 'usage: .* error: ', code=2)
    for text in CONFIGS:
        make = partial(_write, text)
        yield Case(f'config: {text}', 'train.py', ('c.py',), r'c\.py', make, LOGS)


def _write(text: str, folder: Path) -> None:
    (folder / 'c.py').write_text(text)


DATA, TOOL = list(data_cases()), list(tool_cases())


@pytest.fixture(scope='session')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('project') / 'project'
    make_project(folder)
    return folder


@pytest.mark.parametrize('case', DATA, ids=range(len(DATA)))
def test_data(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)


@pytest.mark.parametrize('case', TOOL, ids=range(len(TOOL)))
def test_tool(case, project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path, project)


def test_the_valid_inputs_are_accepted(tmp_path, monkeypatch):
    """Otherwise all cases could be refused for another reason."""
    monkeypatch.chdir(tmp_path)
    annotations(tmp_path)
    xml_folder(tmp_path)
    for tool, arguments in (
        ('eval_detections.py', EVALUATE),
        ('convert_dataset.py', (*CONVERT, 'new.json')),
    ):
        monkeypatch.setattr(sys, 'argv', [str(TOOLS / tool), *arguments])
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
    assert (tmp_path / 'r.json').exists() and (tmp_path / 'new.json').exists()
