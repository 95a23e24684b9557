"""Cases of the corpus, and the verdict that each must get."""

import re
import resource
import runpy
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from mmengine.registry import DefaultScope
from mmengine.utils.manager import ManagerMixin

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
SECONDS, BYTES = 60, 4 << 30


class Case(NamedTuple):
    """A command that must be refused: a message, exit code 1 or 2, no traceback, no lost file, in time and memory.

    Attributes:
        name: What is wrong.
        tool: File below tools/.
        arguments: Its arguments; paths are relative to the folder of the case.
        words: Pattern that the message must have.
        make: Makes the files of the case; default: none.
        writes: Pattern of the new files and folders that may appear: the logs of a run, in its work folder.
        code: Exit code: 1, or 2 for a wrong usage.
    """

    name: str
    tool: str
    arguments: tuple[str, ...]
    words: str
    make: Callable[[Path], object] = lambda folder: None
    writes: str = '(?!)'
    code: int = 1


class Timeout(BaseException):
    """The time limit, which no handler of a tool catches."""


def contents(folder: Path) -> dict[str, bytes]:
    """Return what every file of a folder is and holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b''
        for path in folder.rglob('*')
    }


@contextmanager
def limits() -> Iterator[None]:
    """Fail after a minute or with 4 GB."""

    def stop(*_: object) -> None:
        raise Timeout(f'more than {SECONDS} s')

    before, start = signal.signal(signal.SIGALRM, stop), time.monotonic()
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < BYTES


def run_tool(tool: str, arguments: tuple[str, ...]) -> tuple[int, str]:
    """Run a tool in this process; exit code, and the message that it ends with."""
    for manager in ManagerMixin.__subclasses__():  # loggers of the last run
        if manager is not DefaultScope:
            manager._instance_dict.clear()
    argv, handler = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = [str(TOOLS / tool), *arguments]
    output, errors = StringIO(), StringIO()
    try:
        with limits(), redirect_stdout(output), redirect_stderr(errors), warnings.catch_warnings():
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


def check(case: Case, folder: Path, template: Path | None = None) -> None:
    """Run a case in a folder, after a copy of a template, and check its verdict."""
    if template is not None:
        shutil.copytree(template, folder, symlinks=True, dirs_exist_ok=True)
    case.make(folder)
    before = contents(folder)
    code, message = run_tool(case.tool, case.arguments)
    after = contents(folder)
    lost = [name for name, content in before.items() if after.get(name) != content]
    made = [name for name in after if name not in before and '.manifest.json' not in name]
    new = [name for name in made if not re.match(case.writes, name)]
    about = f'{case.name}: exit code {code}, {message}'
    assert not lost and not new, f'{about}\nchanged: {lost}\nnew: {new}'
    assert code == case.code, about
    assert re.search(case.words, message, re.DOTALL), about
    assert 'Traceback' not in message, about
    if code == 1:
        assert message.startswith(f'tools/{case.tool}: '), about
