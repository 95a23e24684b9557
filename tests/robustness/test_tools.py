"""Every bad input gets its verdict: a message, exit code 1 or 2, no traceback, nothing written or
lost.
"""

import json
import re
import runpy
import shutil
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.utils.manager import ManagerMixin

from tests.processes import TOOLS
from tests.test_checkpoints.test_safe import Touch
from tests.test_datasets.test_vid_json import valid
from tests.tiny.project import contents, make_project


class Case(NamedTuple):
    """A command that must be refused.

    Attributes:
        tool: File below tools/.
        arguments: Its arguments; paths are relative to the folder of the case.
        words: Pattern that the message must have.
        make: Makes the files of the case; default: none.
        writes: Pattern of the new files and folders that may appear: the logs of a run, in its work
            folder.
        code: Exit code: 1, or 2 for a wrong usage.
    """

    tool: str
    arguments: tuple[str, ...]
    words: str
    make: Callable[[Path], object] = lambda folder: None
    writes: str = '(?!)'
    code: int = 1


def run_tool(tool: str, arguments: tuple[str, ...]) -> tuple[int, str]:
    """Run a tool in this process; exit code, and the message that it ends with."""
    for manager in ManagerMixin.__subclasses__():  # loggers of the last run
        if manager is not DefaultScope:
            manager._instance_dict.clear()
    argv, handler = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = [str(TOOLS / tool), *arguments]
    output, errors = StringIO(), StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(errors), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            runpy.run_path(str(TOOLS / tool), run_name='__main__')
    except SystemExit as end:
        if isinstance(end.code, str):
            return 1, end.code
        return end.code or 0, errors.getvalue()
    finally:
        sys.argv = argv
        signal.signal(signal.SIGINT, handler)
    return 0, output.getvalue()


def check(case: Case, folder: Path) -> None:
    """Run a case in a folder, and check its verdict."""
    case.make(folder)
    before = contents(folder)
    code, message = run_tool(case.tool, case.arguments)
    after = contents(folder)
    lost = [name for name, content in before.items() if after.get(name) != content]
    made = [name for name in after if name not in before and '.manifest.json' not in name]
    new = [name for name in made if not re.match(case.writes, name)]
    about = f'{case}: exit code {code}, {message}'
    assert not lost and not new, f'{about}\nchanged: {lost}\nnew: {new}'
    assert code == case.code, about
    assert re.search(case.words, message, re.DOTALL), about
    assert 'Traceback' not in message, about
    if code == 1:
        assert message.startswith(f'tools/{case.tool}: '), about


EVALUATE = ('--ann-file', 'val.json', '--detections', 'd.txt', '--out', 'r.json')
ROWS = '0 1 0.9 1 2 3 4\n'
XML = (
    '<annotation><size><width>64</width><height>48</height></size>'
    '<object><trackid>0</trackid><name>n02084071</name>'
    '<bndbox><xmax>9</xmax><xmin>1</xmin><ymax>8</ymax><ymin>2</ymin></bndbox>'
    '<occluded>0</occluded><generated>0</generated></object></annotation>'
)
CONVERT = ('imagenet-vid', '--ann-dir', 'ann', '--image-set', 'set.txt', '--workers', '1', '--out')
PARAMS = struct.pack('<QQQIiIQQII', 0x112, 0, 1, 0xF993FAC9, 0, 2, 3, 4, 1, 0) + bytes(52)
PARAMS += struct.pack('<QQ', 1, 5) + b'arg:x'
"""A file of MXNet with one array."""


def annotations(folder: Path, content: object = None, detections: str = ROWS) -> None:
    text = content if isinstance(content, str) else json.dumps(content or valid())
    (folder / 'val.json').write_text(text)
    (folder / 'd.txt').write_text(detections)


def xml_folder(folder: Path, text: str = XML, listed: str = 'a/000000 1\n') -> None:
    (folder / 'ann' / 'a').mkdir(parents=True)
    (folder / 'ann' / 'a' / '000000.xml').write_text(text)
    (folder / 'set.txt').write_text(listed)


def checkpoint(folder: Path, content: object, cut: float = 1) -> None:
    torch.save(content, folder / 'w.pth')
    data = (folder / 'w.pth').read_bytes()
    (folder / 'w.pth').write_bytes(data[: int(cut * len(data))])


def write(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)


def data_cases() -> Iterator[Case]:
    evaluate = partial(Case, 'eval_detections.py', EVALUATE)
    wrong = valid()
    wrong['images'][1]['width'] = 0
    for content, words in (
        (wrong, r'val\.json: 1 of 3 images have .*first images\[1\]'),
        ('{"images": [', r'val\.json is not a json file'),
        ('[' * 100_000, r'val\.json is not a json file'),
    ):
        yield evaluate(words, partial(annotations, content=content))
    yield evaluate(r'd\.txt: ', partial(annotations, detections=ROWS + '1 2 3'))
    convert = partial(Case, 'convert_dataset.py', (*CONVERT, 'val.json'))
    entities = ('<!ENTITY b "&a;&a;">', '<!ENTITY x SYSTEM "file:///etc/passwd">')
    for entity in entities:
        text = f'<!DOCTYPE a [{entity}]><a><size><width>&x;</width></size></a>'
        words = 'none of the 1 annotation files.*first a/000000.xml: '
        yield convert(words, partial(xml_folder, text=text))
    yield convert(r'set\.txt', partial(xml_folder, listed='gone/000000 1\n'))
    weights = dict(state_dict={f'a.{n}': torch.ones(9, 9) for n in range(5)}, meta={})
    join = partial(Case, 'convert_checkpoint.py', ('join', '--part', 'x=w.pth', '--out', 'o.pth'))
    for content, cut, words in (
        (dict(weights, x=Touch('touched')), 1, 'refused'),
        (weights, 0.3, 'cannot be read'),
        (dict(state_dict=[1]), 1, 'holds no weights'),
    ):
        yield join(rf'w\.pth: {words}', partial(checkpoint, content=content, cut=cut))
    mxnet = ('mxnet', 'p.params', 'o.pth')
    for data in (PARAMS[:60], PARAMS[:9] + b'\xff\xff\xff' + PARAMS[12:]):
        make = partial(write, 'p.params', data)
        yield Case('convert_checkpoint.py', mxnet, r'p\.params: ', make)


LOGS = r'work|t/\.videos\.txt'  # logs of a run, and what is known of its videos
DETECTOR = ('config.py', 'two.pth')
VIDEO = ('in.mp4', *DETECTOR, '--device', 'cpu')
# Tool, arguments, options of which each is refused, words of the message.
OPTIONS = (
    ('video_demo.py', VIDEO, '--max-frames 0', 'max_frames'),
    ('video_demo.py', VIDEO, '--method frame --panels flow', 'panel'),
    ('test.py', DETECTOR, '--protocol pairs --scene-cuts', 'leave out schedule'),
    ('test.py', DETECTOR, '--cfg-options test_dataloader.dataset.ann_file=gone.json', 'gone'),
    ('test.py', DETECTOR, '--cfg-options model.detector.bbox_head.num_classes=7', 'does not fit'),
    ('train.py', ('train.py',), '--cfg-options train_cfg.steps.0.trainable=[nope]', 'nope'),
    ('train.py', ('train.py',),
     '--cfg-options train_dataloader.dataset.dataset.ann_file=gone.txt', r'gone\.txt'),
    ('analysis/show_propagation.py',
     (*DETECTOR, 'in.mp4', '--current', '1', '--out', 'p.png', '--device', 'cpu'),
     '--key 99', '99'),
)  # fmt: skip
FILES = (
    ('test.py', ('gone.py', 'two.pth'), r'gone\.py: there is no such config'),
    ('test.py', ('config.py', 'gone.pth'), r'gone\.pth: there is no such checkpoint'),
    ('test.py', ('config.py', 'notes.txt'), r'notes\.txt: cannot be read as a checkpoint'),
    ('video_demo.py', ('gone.mp4', *DETECTOR), r'gone\.mp4'),
    ('video_demo.py', ('notes.txt', *DETECTOR), r'notes\.txt'),
)
CONFIGS = ('model = (', 'raise SystemExit(0)', '')


def tool_cases() -> Iterator[Case]:
    yield Case('video_demo.py', (*VIDEO, '--json', 'mine/key.onnx'), 'exists already', code=2)
    for tool, arguments, option, words in OPTIONS:
        yield Case(tool, (*arguments, *option.split(' ')), words, writes=LOGS)
    for tool, arguments, words in FILES:
        yield Case(tool, arguments, words, writes=LOGS)
    yield Case('test.py', (*DETECTOR, '--protocol', 'x'), 'usage: .* error: ', code=2)
    for text in CONFIGS:
        make = partial(write, 'c.py', text.encode())
        yield Case('train.py', ('c.py',), r'c\.py', make, LOGS)


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
    shutil.copytree(project, tmp_path, symlinks=True, dirs_exist_ok=True)
    check(case, tmp_path)


def test_the_valid_inputs_are_accepted(tmp_path, monkeypatch):
    """Otherwise all cases could be refused for another reason."""
    monkeypatch.chdir(tmp_path)
    annotations(tmp_path)
    xml_folder(tmp_path)
    assert run_tool('eval_detections.py', EVALUATE)[0] == 0
    assert run_tool('convert_dataset.py', (*CONVERT, 'new.json'))[0] == 0
    assert (tmp_path / 'r.json').exists() and (tmp_path / 'new.json').exists()
