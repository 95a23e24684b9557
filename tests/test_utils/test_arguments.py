"""What every tool does: options, checks of its files, messages instead of tracebacks."""

import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress

import pytest
import torch

from semidff.utils import stopping
from semidff.utils.arguments import ToolParser, run_tool
from semidff.utils.checkpoint import CheckpointError, read_checkpoint
from tests.processes import TOOLS
from tests.test_utils.test_safe_loading import FORMATS, Touch


def parsed(*arguments):
    parser = ToolParser()
    parser.add_input('source')
    parser.add_output('--out')
    parser.add_checkpoint('--weights', nargs='*')
    parser.add_value('--lengths', [2, 5], 'lengths', 'L')
    return parser.parse_args(arguments)


def test_options_of_the_parser_are_gone():
    seen = {}
    run_tool(lambda args: seen.update(vars(args)), parsed('a', '--out', 'b', '--debug'))
    assert seen == dict(source='a', out='b', weights=None, lengths=[2, 5])


def test_counts_are_at_least_one(capsys):
    with pytest.raises(SystemExit, match='2'):
        parsed('a', '--lengths', '3', '0')
    assert 'argument --lengths: 0 is below 1' in capsys.readouterr().err


def test_the_help_shows_defaults(capsys):
    with pytest.raises(SystemExit, match='0'):
        parsed('--help')
    shown = capsys.readouterr().out
    assert 'lengths (default: [2, 5])' in shown and shown.count('default') == 1


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (CheckpointError('bad file'), 'error: bad file'),
        (FileNotFoundError(2, 'No such file', 'x'), "No such file: 'x'"),
        (KeyError('name'), 'error: KeyError: name\n--debug'),
        (AssertionError(), 'error: AssertionError: raise error ('),
    ],
)
def test_an_error_is_a_message_and_a_traceback_with_debug_only(error, message):
    def work(args):
        raise error

    with pytest.raises(SystemExit) as end:
        run_tool(work, parsed('a'))
    assert message in end.value.code
    with pytest.raises(type(error)):
        run_tool(work, parsed('a', '--debug'))


@pytest.mark.usefixtures('interruptible')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_tool_and_its_workers_quietly(number, capfd):
    def work(args):
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
        run_tool(work, parsed('a'))
    assert 'Traceback' not in capfd.readouterr().err
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


def interrupt_in_suppress():
    with suppress(KeyboardInterrupt):  # mmengine formats configs in a bare ``except``
        os.kill(os.getpid(), signal.SIGTERM)


class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def interrupt_in_weak_reference():
    thing = WeakKey()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del thing, reference


class WeakKey:
    pass


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('interrupt', [interrupt_in_suppress, Thing, interrupt_in_weak_reference])
def test_a_swallowed_interruption_comes_again(monkeypatch, interrupt):
    """Python drops exceptions in destructors and callbacks; what follows may compute or wait."""
    monkeypatch.setattr(stopping, '_AGAIN', 0.1)

    def work(args):
        interrupt()
        time.sleep(30)

    with pytest.raises(SystemExit, match='130'):
        run_tool(work, parsed('a'))


def test_what_ends_is_not_interrupted_again(monkeypatch):
    """As an output that is completed after Ctrl-C."""
    monkeypatch.setattr(stopping, '_AGAIN', 0.05)
    completed = []

    def results():
        try:
            yield
        finally:
            time.sleep(0.2)
            completed.append('generator')

    def work(args):
        iterator = results()
        next(iterator)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        finally:
            time.sleep(0.2)
            with suppress(KeyError):
                completed.append(dict()['key'])
            iterator.close()
            completed.append('block')

    with pytest.raises(SystemExit, match='130'):
        run_tool(work, parsed('a'))
    assert completed == ['generator', 'block']


def test_a_loop_without_further_results_ends_at_the_first_signal(monkeypatch):
    monkeypatch.setattr(stopping, '_PATIENCE', 0.1)

    def results():
        yield
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)  # a camera without frames

    def work(args):
        for _ in stopping.until_stopped(results()):
            pass

    with pytest.raises(SystemExit, match='130'):
        run_tool(work, parsed('a'))


def test_an_interruption_that_becomes_an_error_is_one():
    def work(args):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except:  # noqa: E722 (as in mmengine)
            raise SyntaxError('Failed to format the config file')  # noqa: B904

    with pytest.raises(SystemExit, match='130'):
        run_tool(work, parsed('a'))


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
            parsed(*arguments)
        assert words in capsys.readouterr().err
    assert parsed('in.json', '--out', 'old.txt', '--overwrite')


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
def test_trust_runs_what_is_refused_without_it(form, tmp_path):
    file, touched = tmp_path / 'bad.pth', tmp_path / 'touched'
    FORMATS[form](dict(state_dict=dict(a=torch.ones(1)), other=Touch(touched)), file)

    def work(args):
        read_checkpoint(args.weights[0])

    with pytest.raises(SystemExit, match='refused.*--trust'):
        run_tool(work, parsed('a', '--weights', str(file)))
    assert not touched.exists()
    run_tool(work, parsed('a', '--weights', str(file), '--trust'))
    assert touched.exists()
    with pytest.raises(CheckpointError, match='refused'):
        read_checkpoint(file)  # trust ends with the tool
