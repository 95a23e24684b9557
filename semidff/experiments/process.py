"""A running step."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from . import logs
from .settings import ROOT, locate
from .step import Step

GRACE_SECONDS = 15.0
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


def threads_for(step: Step, rivals: int, jobs: int) -> int:
    """CPU threads of a step: all of them where it runs alone, else its share.

    Args:
        step: The step.
        rivals: Steps that run already or could start now.
        jobs: How many may run at the same time.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    )
    sharing = 1 if step.alone else min(jobs, 1 + rivals)
    return max(1, cores // sharing)


def resuming_command(command: tuple[str, ...]) -> list[str]:
    """A training's command, continued: the weights come from its own checkpoint."""
    return [*(part for part in command if not part.startswith('load_from=')), '--resume']


class StepProcess:
    """Starts a step in a process group of its own, its output in a log.

    Args:
        step: The step.
        log: The log; it is continued if the step is.
        threads: CPU threads for the step.
        resume: Whether a training continues from its last checkpoint.
        lock: The chain's lock, which the process keeps open.
    """

    def __init__(self, step: Step, log: Path, threads: int, resume: bool, lock: int) -> None:
        self.step, self.log = step, log
        log.parent.mkdir(parents=True, exist_ok=True)
        command = resuming_command(step.command) if resume else list(step.command)
        self._from = log.stat().st_size if resume and log.exists() else 0
        program, environment = _program(command), _environment(step, threads)
        with log.open('ab' if resume else 'wb') as output:
            output.write(f'$ {_as_typed(step, program)}\n'.encode())
            output.flush()
            self._process = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=(lock,),
            )
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def fraction(self) -> float | None:
        """How much of its work the step reports as done, in [0, 1]."""
        new = self.log.stat().st_size - self._from
        mode = {'train': 'train', 'row': 'test'}.get(self.step.kind)
        return logs.fraction_done(logs.tail(self.log, min(new, logs.TAIL_BYTES)), mode)

    def interrupt(self) -> None:
        """Asks the step and its workers to stop, as Ctrl-C does."""
        self._signal(signal.SIGINT)

    def end(self) -> None:
        """Waits for an interrupted step; ends it by force if it does not stop by itself."""
        for last_word in (signal.SIGTERM, signal.SIGKILL):
            try:
                self._process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._signal(last_word)
        self._process.wait()
        self._signal(signal.SIGKILL)  # workers that outlived their parent

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


def _program(command: list[str]) -> list[str]:
    """Python scripts run with this very Python; they are found in the project from any folder."""
    if command[0].endswith('.py'):
        return [sys.executable, str(locate(command[0])), *command[1:]]
    return [sys.executable, *command[1:]] if command[0] == 'python' else command


def _as_typed(step: Step, program: list[str]) -> str:
    """The command as a user would type it, to repeat a step by hand."""
    variables = [f'{name}={shlex.quote(value)}' for name, value in step.environment.items()]
    return ' '.join([*variables, shlex.join(program)])


def _environment(step: Step, threads: int) -> dict[str, str]:
    environment = {**os.environ, **step.environment, 'PYTHONUNBUFFERED': '1'}
    environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    path = [str(ROOT), environment.get('PYTHONPATH', '')]
    environment['PYTHONPATH'] = os.pathsep.join(part for part in path if part)
    return environment
