"""Processes of running steps."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

from .experiment import Step
from .settings import ROOT, locate

GRACE_SECONDS = 1.5
THREAD_VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS')


def thread_variables(alone: bool, jobs: int) -> dict[str, str]:
    """Return the variables that set a step's CPU threads; none if the user has set one.

    Args:
        alone: Whether the step runs alone and gets all cores.
        jobs: Number of steps that share the cores otherwise.
    """
    if any(name in os.environ for name in THREAD_VARIABLES):
        return {}
    has_affinity = hasattr(os, 'sched_getaffinity')
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return dict.fromkeys(THREAD_VARIABLES, str(cores if alone else max(1, cores // jobs)))


def resuming_command(command: tuple[str, ...]) -> list[str]:
    """Return a training's command that resumes it: its weights come from its own checkpoint."""
    return [*(part for part in command if not part.startswith('load_from=')), '--resume']


class StepProcess(subprocess.Popen):
    """Process group of a step whose output goes to a log.

    Args:
        log: The log file; it is continued if the step is resumed.
        threads: Variables that set the CPU threads.
        resume: Whether a training continues from its last checkpoint.
        lock: File descriptor of the experiment's lock, which the process keeps open.
    """

    def __init__(
        self, step: Step, log: Path, threads: dict[str, str], resume: bool, lock: int
    ) -> None:
        self.step, self.log, self.started = step, log, time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        command = resuming_command(step.command) if resume else list(step.command)
        if command[0].endswith('.py'):  # with the current interpreter, from any folder
            command = [sys.executable, str(locate(command[0])), *command[1:]]
        elif command[0] == 'python':
            command[0] = sys.executable
        path = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
        own = {'PYTHONUNBUFFERED': '1', 'PYTHONPATH': os.pathsep.join(path)}
        with log.open('ab' if resume else 'wb') as output:
            # the command as a user would type it, to repeat a step by hand
            variables = [f'{name}={shlex.quote(value)}' for name, value in step.environment.items()]
            output.write(f'$ {" ".join([*variables, shlex.join(command)])}\n'.encode())
            output.flush()
            super().__init__(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **step.environment, **threads, **own},
                start_new_session=True,
                pass_fds=(lock,),
            )

    def send_signal(self, number: int) -> None:
        """Send a signal to the step and its workers, which may have outlived it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def last_lines(self, count: int = 20) -> str:
        """Return the end of the log; of a progress bar only the last state is kept."""
        lines = self.log.read_bytes().decode(errors='replace').rstrip().split('\n')
        return '\n'.join(line.split('\r')[-1].rstrip() for line in lines[-count:])


def stop(processes: Collection[StepProcess]) -> None:
    """Interrupt processes as Ctrl-C does; kill those that have not ended after 1.5 seconds.

    A killed training loses nothing but the iterations since its last checkpoint. A second Ctrl-C kills at once.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    try:
        for process in processes:
            process.send_signal(signal.SIGINT)
        while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.wait()
