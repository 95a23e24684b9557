"""Execution of an experiment's steps as processes, several at a time."""

import contextlib
import ctypes
import functools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from uuid import uuid4

import torch

from semidff.utils.installed import PROJECT
from semidff.utils.progress import clock

from .experiment import PRODUCTS, Experiment, Step
from .settings import ROOT, locate
from .work_folder import exclusive

POLL_SECONDS = 0.1
GRACE_SECONDS = 1.5
_LIBC = ctypes.CDLL(None)
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


def gpu_variables(used: Sequence[str]) -> dict[str, str]:
    """Return the variable that gives a step one of several GPUs; none where there are fewer than two.

    Args:
        used: GPUs of the running steps; the step gets the one that the fewest of them have.
    """
    listed = os.environ.get('CUDA_VISIBLE_DEVICES')
    gpus = listed.split(',') if listed else [str(i) for i in range(torch.cuda.device_count())]
    return {'CUDA_VISIBLE_DEVICES': min(gpus, key=used.count)} if len(gpus) > 1 else {}


def resuming_command(command: tuple[str, ...]) -> list[str]:
    """Return a training's command that resumes it: its weights come from its own checkpoint."""
    return [*(part for part in command if not part.startswith('load_from=')), '--resume']


def _end_with(parent: int) -> None:
    """Let Ctrl-C interrupt this process, and the kernel kill it when its parent is killed (on Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in what a shell runs in the background
    if sys.platform == 'linux':
        _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)  # it has ended already


class StepProcess(subprocess.Popen):
    """Process group of a step whose output goes to a log; the process ends with its parent, on Linux.

    Args:
        log: The log file; it is continued if the step is resumed.
        variables: Variables that set the CPU threads and the GPU.
        resume: Whether a training continues from its last checkpoint.
        lock: File descriptor of the experiment's lock, which the process keeps open.
    """

    def __init__(
        self, step: Step, log: Path, variables: dict[str, str], resume: bool, lock: int
    ) -> None:
        self.step, self.log, self.variables = step, log, variables
        self.started = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        command = resuming_command(step.command) if resume else list(step.command)
        if command[0].endswith('.py'):  # with the current interpreter, from any folder
            # The current folder may have other tools of the same names, as mmdetection's does.
            file = PROJECT / command[0] if step.kind in PRODUCTS else locate(command[0])
            command = [sys.executable, str(file), *command[1:]]
        elif command[0] == 'python':
            command[0] = sys.executable
        path = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
        own = {'PYTHONUNBUFFERED': '1', 'PYTHONPATH': os.pathsep.join(path)}
        with log.open('ab' if resume else 'wb') as output:
            # the command as a user would type it, to repeat a step by hand
            settings = [f'{name}={shlex.quote(value)}' for name, value in step.environment.items()]
            output.write(f'$ {" ".join([*settings, shlex.join(command)])}\n'.encode())
            output.flush()
            super().__init__(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **step.environment, **variables, **own},
                start_new_session=True,
                pass_fds=(lock,),
                preexec_fn=functools.partial(_end_with, os.getpid()),
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


class StepFailed(RuntimeError):
    """A step failed; the message has the last lines of its log and the log's path."""


class ExperimentRunner:
    """Runs the steps of an experiment that are not done yet.

    Args:
        jobs: How many steps may run at the same time.
    """

    def __init__(self, experiment: Experiment, jobs: int = 2) -> None:
        if jobs < 1:
            raise ValueError(f'jobs = {jobs}: expected at least 1.')
        self.experiment, self.jobs = experiment, jobs
        self.steps: dict[str, Step] = {}
        self.marks: dict[str, str] = {}
        self.done: set[str] = set()
        for step in experiment.all_steps:
            self._add(step)
        self.running: list[StepProcess] = []

    def _add(self, step: Step) -> None:
        """Add a step, or replace the one of the same name."""
        self.steps[step.name] = step
        self.marks[step.name] = step.fingerprint(self.marks, self.experiment.work_dir)
        self.done.discard(step.name)
        # what needs a step that is not done is repeated after it
        if self.done.issuperset(step.needs) and step.is_done(*self._identity(step)):
            self.done.add(step.name)

    def _identity(self, step: Step) -> tuple[str, dict[str, str | None]]:
        """Return a step's fingerprint and the ids of the last runs of the steps that it needs.

        The hash of the detector that its config names is added to them; stamps of earlier versions lack it.
        """
        needs = {need: self.steps[need].run for need in step.needs}
        if step.detector:
            needs['model.detector of the config'] = step.detector
        return self.marks[step.name], needs

    def select(self, only: Collection[str] = ()) -> list[Step]:
        """Return the steps that are still to be run: all, or those named and what they need.

        A name stands for the step of every seed, and a row's name for all its key-frame intervals.
        The speed of the named rows is measured too, together with that of rows evaluated before.

        Raises:
            ValueError: If a name is unknown.
        """
        wanted = set() if only else set(self.steps)
        for name in only:
            # 'seed1/rows/copy/l5' is also called 'rows/copy/l5' and 'copy'
            pattern = rf'(seed\d+/)?({re.escape(name)}|rows/{re.escape(name)}(/l\d+)?)'
            found = {full for full in self.steps if re.fullmatch(pattern, full)}
            if not found:
                raise ValueError(f'no step or row {name!r}; there are {sorted(self.steps)}.')
            wanted |= found
        for step in reversed(self.steps.values()):  # each step stands after those that it needs
            if step.name in wanted:
                wanted |= set(step.needs)
        rows = {run.step.name for run in self.experiment.rows}
        if only:
            for step in self.experiment.speed_steps(rows & (wanted | self.done)):
                self._add(step)
                if rows & wanted:
                    wanted.add(step.name)
        return [s for s in self.steps.values() if s.name in wanted and s.name not in self.done]

    def listing(self, only: Collection[str] = ()) -> str:
        """Return a line for each step: whether it is done, its kind, and the steps it needs."""
        waiting = {step.name for step in self.select(only)}
        lines = []
        for name, step in self.steps.items():
            state = 'done' if name in self.done else 'to run' if name in waiting else 'left out'
            needs = f', needs {", ".join(step.needs)}' if step.needs else ''
            lines.append(f'{state:8}  {name} ({step.kind}{needs})')
        return '\n'.join(lines)

    def run(self, only: Collection[str] = ()) -> None:
        """Run the steps and return when all of them have succeeded.

        Raises:
            StepFailed: If a step failed; the others are stopped.
            RuntimeError: If another experiment runs in the same folder.
            KeyboardInterrupt: After SIGINT or SIGTERM, when all processes have ended.
        """
        work_dir = self.experiment.work_dir
        if not self.select(only):
            print(f'Nothing to run: {len(self.done)} steps are done in {work_dir}', flush=True)
            return
        with exclusive(work_dir) as lock:
            for step in list(self.steps.values()):  # an earlier command may just have finished some
                self._add(step)
            waiting = self.select(only)
            total = len(waiting)
            print(
                f'{total} steps to run in {work_dir}, {len(self.done)} already done; Ctrl-C stops, the same '
                'command continues',
                flush=True,
            )
            try:
                while waiting or self.running:
                    self._start(waiting, lock)
                    time.sleep(POLL_SECONDS)
                    for process in [p for p in self.running if p.poll() is not None]:
                        self.running.remove(process)
                        self._finish(process)
                        count = total - len(waiting) - len(self.running)
                        took = clock(time.monotonic() - process.started)
                        print(f'{process.step.name}: done in {took} ({count}/{total})', flush=True)
            finally:
                stop(self.running)
                self.running.clear()

    def _start(self, waiting: list[Step], lock: int) -> None:
        for step in list(waiting):
            active = [process.step for process in self.running]
            if not may_start(step, self.done, active, self.jobs):
                continue
            waiting.remove(step)
            resume = step.prepare_folder(*self._identity(step), self.experiment.work_dir)
            log = self.experiment.work_dir / 'logs' / f'{step.name}.log'
            used = [p.variables.get('CUDA_VISIBLE_DEVICES', '') for p in self.running]
            variables = thread_variables(step.alone, self.jobs) | gpu_variables(used)
            self.running.append(StepProcess(step, log, variables, resume, lock))
            print(f'{step.name}: {"continued" if resume else "started"}, log in {log}', flush=True)

    def _finish(self, process: StepProcess) -> None:
        step = process.step
        problem = f'exit status {process.returncode}' if process.returncode else ''
        if not problem and step.product and not step.product.exists():
            problem = f'it ended without writing {step.product}'
        if problem:
            raise StepFailed(
                f'{step.name} failed: {problem}. The end of its log:\n'
                f'{process.last_lines()}\nThe whole log: {process.log}'
            )
        step.write_stamp(*self._identity(step), run=uuid4().hex)
        self.done.add(step.name)


def may_start(step: Step, finished: Collection[str], running: Collection[Step], jobs: int) -> bool:
    """Return whether a step can start beside the running ones.

    Args:
        finished: Names of the steps that are done.
        jobs: How many may run at the same time.
    """
    if len(running) >= jobs or any(other.alone for other in running):
        return False
    if step.alone and running:
        return False
    return all(need in finished for need in step.needs)
