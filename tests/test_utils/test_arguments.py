"""What every tool does: checks of its files, messages instead of tracebacks."""

import os
import signal
import sys
import time

import pytest

from semidff.utils.arguments import ToolParser, run_tool
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.safe_loading import load_file
from semidff.utils.tool_files import CheckpointFile, InputFile, OutputFile
from tests.test_utils.test_safe_loading import FORMATS, Touch


def parsed(*arguments):
    parser = ToolParser()
    parser.add_argument('source', type=InputFile)
    parser.add_argument('--out', type=OutputFile)
    parser.add_argument('--weights', type=CheckpointFile, nargs='*')
    return parser.parse_args(arguments)


def test_options_are_plain_strings_and_those_of_the_parser_are_gone():
    seen = {}
    run_tool(lambda args: seen.update(vars(args)), parsed('a', '--out', 'b', '--debug'))
    assert seen == dict(source='a', out='b', weights=None)
    assert type(seen['source']) is type(seen['out']) is str


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ValueError('wrong value'), 'error: wrong value'),
        (CheckpointError('bad file'), 'error: bad file'),
        (FileNotFoundError(2, 'No such file', 'x'), "No such file: 'x'"),
        (KeyError('name'), 'error: KeyError: name\n--debug'),
        (TypeError('int'), 'error: TypeError: int\n--debug'),
        (AssertionError(), 'error: AssertionError (see --debug)'),
    ],
)
def test_an_error_is_a_message_and_a_traceback_with_debug_only(error, message):
    def work(args):
        raise error

    with pytest.raises(SystemExit, match=r'.*' + message.split('(')[0]) as end:
        run_tool(work, parsed('a'))
    assert message in end.value.code
    with pytest.raises(type(error)):
        run_tool(work, parsed('a', '--debug'))


def test_ctrl_c_has_its_own_exit_code():
    def work(args):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        run_tool(work, parsed('a'))
    assert end.value.code == 130


@pytest.fixture
def _interruptible():
    """A shell in the background has its commands ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('_interruptible')
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
    with pytest.raises(SystemExit) as end:
        run_tool(work, parsed('a'))
    assert end.value.code == 130
    assert 'Traceback' not in capfd.readouterr().err
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


def test_files_are_checked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'in.json').write_text('{}')
    (tmp_path / 'old.txt').write_text('mine')
    os.mkfifo(tmp_path / 'pipe')
    for arguments, words in (
        (['in.json', '--out', './in.json'], 'would overwrite the input'),
        (['in.json', '--out', 'old.txt'], 'exists already'),
        (['in.json', '--weights', 'w.pth', '--out', 'w.pth', '--overwrite'], 'overwrite the input'),
        (['pipe'], 'pipe, socket or device'),
        (['bad\udcff'], 'UTF-8'),
    ):
        with pytest.raises(SystemExit, match=words):
            run_tool(lambda args: pytest.fail('ran'), parsed(*arguments))
    ran = []
    run_tool(ran.append, parsed('in.json', '--out', 'old.txt', '--overwrite'))
    assert ran


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_trust_runs_what_is_refused_without_it(form, tmp_path):
    file, touched = tmp_path / 'bad.pth', tmp_path / 'touched'
    FORMATS[form](dict(a=Touch(touched)), file)

    def work(args):
        load_file(args.weights[0])

    with pytest.raises(SystemExit, match='refused.*--trust'):
        run_tool(work, parsed('a', '--weights', str(file)))
    assert not touched.exists()
    with pytest.warns(UserWarning, match='loaded with --trust'):
        run_tool(work, parsed('a', '--weights', str(file), '--trust'))
    assert touched.exists()
    with pytest.raises(CheckpointError):
        load_file(file)  # trust ends with the tool


def test_closed_streams_get_no_file_number(tmp_path, monkeypatch):
    """Otherwise whatever a library prints would go into the first file that is opened."""
    monkeypatch.chdir(tmp_path)

    def work(args):
        with open('out.txt', 'w') as file:
            os.write(1, b'noise')
            print('noise')
            file.write('text' if file.fileno() > 2 else 'number of a stream')

    if not (child := os.fork()):
        for number in range(3):
            os.close(number)
        sys.stdin = sys.stdout = sys.stderr = None  # as Python starts with closed streams
        run_tool(work, parsed('a'))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / 'out.txt').read_text() == 'text'
