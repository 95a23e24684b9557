"""What every tool does: options, checks of its files, messages instead of tracebacks."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pytest
import torch

from semidff import commands
from semidff.checkpoints.read import read_checkpoint
from semidff.checkpoints.safe import CheckpointError
from semidff.utils.command_line import Checkpoint, Count, Input, Output, parse
from tests.processes import TOOLS
from tests.test_checkpoints.test_safe import FORMATS, Touch


@dataclass
class Group:
    """Options of a group.

    Attributes:
        first: First option (default: that of the config).
    """

    first: int | None = None


def example(
    source: Input,
    other: int | None = None,
    *,
    out: Output | None = None,
    weights: Sequence[Checkpoint] = (),
    lengths: Sequence[Count] = (2, 5),
    kind: Literal['small', 'large'] = 'small',
    size: tuple[Count, Count] | None = None,
    resume: Checkpoint | bool = False,
    fast: bool = False,
    graphs: bool | None = None,
    cfg_options: dict | None = None,
    ffmpeg: dict[str, str] | None = None,
    progress: Callable | None = None,
    group: Group,
) -> None:
    """Do what :func:`work` does, in ``100 %`` of cases.

    Args:
        source: The source.
        lengths: Lengths of
            ``clips``.
        weights: Weights.
    """
    work(source, out=out, weights=weights, lengths=lengths)


def work(*args, **options) -> None:
    """Replaced by the tests."""


def keywords(**changes: Group) -> str:
    """Take fields as keywords."""
    return f'changed: {changes}'


HERE = 'tests.test_utils.test_command_line'
EXAMPLE = f'{HERE}.example'


def options(*arguments: str) -> dict:
    given = parse(EXAMPLE, arguments)
    del given['command']
    return given


def run_example(monkeypatch, function, *arguments: str) -> None:
    """Run the example with another ``work``."""
    monkeypatch.setattr(f'{HERE}.work', function)
    monkeypatch.setattr(sys, 'argv', ['example.py', 'a', *arguments])
    commands.run(EXAMPLE)


def test_only_what_is_given_is_passed_on():
    assert options('a') == dict(source='a', other=None)
    text = 'a 3 --lengths 1 --lengths 2 3 --size 4 5 --kind large --resume --fast --no-graphs'
    text += ' --cfg-options a.b=1 --ffmpeg c=[1 --first 7 --debug'
    given = options(*text.split())
    assert given == dict(
        source='a', other=3, lengths=[1, 2, 3], size=[4, 5], kind='large', resume=True, fast=True,
        graphs=False, cfg_options=['a.b=1'], ffmpeg=['c=[1'], first=7, debug=True,
    )  # fmt: skip


def test_a_call_has_read_settings_and_groups(monkeypatch):
    seen = {}
    monkeypatch.setattr(f'{HERE}.example', lambda **given: seen.update(given))
    given = parse(
        EXAMPLE, ['a', '--cfg-options', 'a.b=1', 'c=x', '--ffmpeg', 'd=1', '--first', '7']
    )
    given.pop('command').call(given)
    assert seen == dict(
        source='a', other=None, cfg_options={'a.b': 1, 'c': 'x'}, ffmpeg=dict(d='1'), group=Group(7)
    )


def test_fields_of_further_keywords(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['x', '--first', '7'])
    commands.run(f'{HERE}.keywords')
    assert capsys.readouterr().out == "changed: {'first': 7}\n"


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'required: source'),
        (('a', '--lengths', '3', '0'), 'argument --lengths: 0 is below 1'),
        (('a', '--kind', 'x'), 'invalid choice'),
        (('a', '--cfg-options', '=x'), 'expected KEY=VALUE'),
        (('a', '--progress', 'x'), 'unrecognized arguments'),
    ],
)
def test_errors_of_usage(arguments, message, capsys):
    with pytest.raises(SystemExit, match='2'):
        options(*arguments)
    assert message in capsys.readouterr().err


def test_the_help_is_the_docstring(capsys):
    with pytest.raises(SystemExit, match='0'):
        options('--help')
    shown = ' '.join(capsys.readouterr().out.split())
    assert 'Do what work does, in 100 % of cases. positional' in shown
    assert 'Lengths of clips (default: 2 5)' in shown
    assert 'First option (default: that of the config)' in shown
    assert shown.count('default') == 3  # of kind, too


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (CheckpointError('bad file'), 'error: bad file'),
        (FileNotFoundError(2, 'No such file', 'x'), "No such file: 'x'"),
        (KeyError('name'), 'error: KeyError: name\n--debug'),
        (AssertionError(), 'error: AssertionError: raise error ('),
    ],
)
def test_an_error_is_a_message_and_a_traceback_with_debug_only(monkeypatch, error, message):
    def work(*args, **options):
        raise error

    with pytest.raises(SystemExit) as end:
        run_example(monkeypatch, work)
    assert message in end.value.code
    with pytest.raises(type(error)):
        run_example(monkeypatch, work, '--debug')


@pytest.mark.usefixtures('interruptible')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_tool_and_its_workers_quietly(monkeypatch, number, capfd):
    def work(*args, **options):
        ready, tell = os.pipe()
        worker = os.fork()
        if not worker:
            os.write(tell, b'.')  # a signal that comes while Python forks is lost
            time.sleep(60)
            os._exit(1)
        os.read(ready, 1)
        os.kill(worker, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 128 + signal.SIGTERM
        os.kill(os.getpid(), number)
        time.sleep(60)

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit, match='130'):
        run_example(monkeypatch, work)
    assert 'Traceback' not in capfd.readouterr().err
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


def test_an_interruption_that_becomes_an_error_is_one(monkeypatch):
    def work(*args, **options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except:  # noqa: E722 (as in mmengine)
            raise SyntaxError('Failed to format the config file')  # noqa: B904

    with pytest.raises(SystemExit, match='130'):
        run_example(monkeypatch, work)


def test_files_are_checked_by_the_parser(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'in.json').write_text('{}')
    (tmp_path / 'old.txt').write_text('mine')
    for arguments, words in (
        (['in.json', '--out', './in.json'], 'would overwrite the input'),
        (['in.json', '--out', 'old.txt'], 'exists already'),
        (['in.json', '--weights', 'w.pth', '--out', 'w.pth', '--overwrite'], 'overwrite the input'),
    ):
        with pytest.raises(SystemExit, match='2'):
            options(*arguments)
        assert words in capsys.readouterr().err
    assert options('in.json', '--out', 'old.txt', '--overwrite')


def test_help_of_all_tools_needs_neither_pytorch_nor_mmdetection():
    code = """
import runpy, sys
for tool in sys.argv[1:]:
    sys.argv = [tool, '--help']
    try:
        runpy.run_path(tool, run_name='__main__')
    except SystemExit:
        pass
assert not {'torch', 'mmdet', 'mmengine', 'cv2'} & sys.modules.keys()
"""
    tools = sorted(map(str, TOOLS.rglob('*.py')))
    done = subprocess.run([sys.executable, '-c', code, *tools], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('usage: ') == len(tools)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_trust_runs_what_is_refused_without_it(monkeypatch, form, tmp_path):
    file, touched = tmp_path / 'bad.pth', tmp_path / 'touched'
    FORMATS[form](dict(state_dict=dict(a=torch.ones(1)), other=Touch(touched)), file)

    def work(*args, **options):
        read_checkpoint(options['weights'][0])

    with pytest.raises(SystemExit, match='refused.*--trust'):
        run_example(monkeypatch, work, '--weights', str(file))
    assert not touched.exists()
    run_example(monkeypatch, work, '--weights', str(file), '--trust')
    assert touched.exists()
    with pytest.raises(CheckpointError, match='refused'):
        read_checkpoint(file)  # trust ends with the tool
