"""Runs a chain's steps as processes, several at a time, and continues an interrupted run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from semidff.utils.progress import ProgressLine, clock

from . import logs
from .process import StepProcess, threads_for
from .schedule import expected_seconds, may_start, seconds_left
from .spec import Chain
from .step import Stamp, Step, fingerprint, finish_training, is_done, prepare_folder

POLL_SECONDS = 0.1


class StepFailed(RuntimeError):
    """A step ended badly; the message has the last lines of its log and where the log is."""


class ExperimentRunner:
    """Runs what is not yet done of a chain.

    Args:
        chain: The chain.
        jobs: How many steps may run at the same time.
        line: Where progress is shown.
    """

    def __init__(self, chain: Chain, jobs: int = 2, line: ProgressLine | None = None) -> None:
        if jobs < 1:
            raise ValueError(f'jobs = {jobs}: at least one step must be able to run.')
        self.chain, self.jobs, self.line = chain, jobs, line or ProgressLine()
        self.marks: dict[str, str] = {}
        for step in chain.all_steps:
            self.marks[step.name] = fingerprint(step, self.marks, chain.work_dir)
        self.running: dict[str, StepProcess] = {}
        self.done = {s.name for s in chain.all_steps if is_done(s, self.marks[s.name])}
        self._started = time.monotonic()

    def select(self, only: Collection[str] = ()) -> list[Step]:
        """The steps still to be run: all, or those named and what they need.

        A name stands for the step of every seed, and a row's name for all its key intervals.

        Raises:
            ValueError: If a name is not in the chain.
        """
        steps = {step.name: step for step in self.chain.all_steps}
        wanted = set(steps) if not only else set()
        for name in only:
            found = {full for full in steps if name in (full, *_short_names(full))}
            if not found:
                raise ValueError(f'no step or row {name!r}; there are {sorted(steps)}.')
            wanted |= found
        for step in reversed(list(steps.values())):  # needs always stand before
            if step.name in wanted:
                wanted |= set(step.needs)
        return [s for s in steps.values() if s.name in wanted and s.name not in self.done]

    def listing(self, only: Collection[str] = ()) -> str:
        """A line for each step: whether it is done, what it is, what it needs."""
        waiting = {step.name for step in self.select(only)}
        lines = []
        for step in self.chain.all_steps:
            state = (
                'done'
                if step.name in self.done
                else 'to run'
                if step.name in waiting
                else 'left out'
            )
            needs = f', needs {", ".join(step.needs)}' if step.needs else ''
            lines.append(f'{state:8}  {step.name} ({step.kind}, about {step.minutes:g} min{needs})')
        return '\n'.join(lines)

    def run(self, only: Collection[str] = ()) -> None:
        """Runs the steps; returns when all of them have ended well.

        Raises:
            StepFailed: If one ended badly; the others are stopped.
            RuntimeError: If another chain works in the same folder.
            KeyboardInterrupt: After the processes were ended.
        """
        waiting = self.select(only)
        self._started = time.monotonic()
        self.line.note(self._overview(waiting))
        with _locked(self.chain.work_dir) as lock, _terminable():
            try:
                while waiting or self.running:
                    self._start(waiting, lock)
                    time.sleep(POLL_SECONDS)
                    self._reap()
                    if self.running and self.line.due():
                        self.line.show(self._state(waiting))
            finally:
                for process in self.running.values():
                    process.interrupt()
                for process in self.running.values():
                    process.end()
                    self._stamp(process, done=False)

    def _start(self, waiting: list[Step], lock: int) -> None:
        for step in list(waiting):
            active = [process.step for process in self.running.values()]
            if not may_start(step, self.done, active, self.jobs):
                continue
            waiting.remove(step)
            rivals = len(active) + sum(may_start(s, self.done, [step], 2) for s in waiting)
            threads = threads_for(step, rivals, self.jobs)
            resume = prepare_folder(step, self.marks[step.name], self.chain.work_dir)
            log = self.chain.work_dir / 'logs' / f'{step.name}.log'
            self.running[step.name] = StepProcess(step, log, threads, resume, lock)
            self.line.note(f'{step.name}: {"continued" if resume else "started"}, log in {log}')

    def _reap(self) -> None:
        for name, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[name]
            self._finish(process, code)

    def _finish(self, process: StepProcess, code: int) -> None:
        step = process.step
        problem = f'exit status {code}' if code else ''
        if not code:
            try:
                if step.kind == 'train':
                    finish_training(step)
            except FileNotFoundError as error:
                problem = str(error)
            if step.product and not step.product.exists():
                problem = problem or f'it left no {step.product}'
        if problem:
            raise StepFailed(
                f'{step.name} failed: {problem}. The end of its log:\n'
                f'{logs.last_lines(process.log)}\nThe whole log: {process.log}'
            )
        self._stamp(process, done=True)
        self.done.add(step.name)
        self.line.note(f'{step.name}: done in {clock(process.seconds)}')

    def _stamp(self, process: StepProcess, done: bool) -> None:
        step = process.step
        earlier = Stamp.read(step.folder)
        minutes = (earlier.minutes if earlier else 0.0) + process.seconds / 60
        Stamp(self.marks[step.name], done, minutes).write(step.folder)

    def _overview(self, waiting: Sequence[Step]) -> str:
        ready = len(self.done)
        text = (
            f'{len(waiting)} steps to run, {ready} already done'
            if ready
            else f'{len(waiting)} steps'
        )
        if not waiting:
            return f'Nothing to run: {ready} steps are done in {self.chain.work_dir}'
        left = seconds_left(waiting, self.done, {}, self.jobs)
        return (
            f'{text} in {self.chain.work_dir}, about {clock(left)} in all; '
            'Ctrl-C stops, the same command continues'
        )

    def _state(self, waiting: Sequence[Step]) -> str:
        """The progress line: share of the time, what runs, time gone and left."""
        pace = self._pace()
        left, parts = {}, []
        for name, process in self.running.items():
            fraction = process.fraction()
            total = expected_seconds(process.step, process.seconds, fraction, pace)
            left[name] = (process.step, total - process.seconds)
            parts.append(name if fraction is None else f'{name} {fraction:.0%}')
        rest = seconds_left(waiting, self.done, left, self.jobs, pace)
        gone = time.monotonic() - self._started
        steps = len(self.chain.all_steps)
        return (
            f'{gone / (gone + rest):4.0%} | {", ".join(parts)} | {len(self.done)}/{steps} steps '
            f'done | {clock(gone)} gone, about {clock(rest)} left'
        )

    def _pace(self) -> float:
        """By how much the steps so far have taken longer than the config expects."""
        expected = taken = 0.0
        for step in self.chain.all_steps:
            stamp = Stamp.read(step.folder) if step.name in self.done else None
            if stamp is not None:
                expected, taken = expected + step.minutes, taken + stamp.minutes
        return min(max(taken / expected, 0.2), 20.0) if expected and taken else 1.0


def _short_names(full: str) -> tuple[str, ...]:
    """What a user may call a step: without the seed's folder, 'rows/' and the key interval."""
    parts = full.split('/')
    if len(parts) > 1 and parts[0].startswith('seed'):
        parts = parts[1:]
    row = parts[1] if parts[0] == 'rows' else parts[0]
    return '/'.join(parts), row


@contextlib.contextmanager
def _locked(work_dir: Path) -> Iterator[int]:
    """Keeps a second chain out of the folder.

    Steps inherit the lock, so a chain that was killed outright still holds it through the steps
    that it left behind.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(work_dir / '.lock', os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f'another chain, or a step that one left behind, still works in {work_dir}; '
                'wait for it, stop it, or choose another folder.'
            ) from None
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Lets SIGTERM end the chain as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
