"""Execution of an experiment's steps as processes, several at a time; what is done is not repeated.

A step is done if its product exists and its stamp has the time at which it finished and the hash of its command, its
resolved config and the stamps of the steps that it needs. A repeated step therefore repeats what depends on it.
"""

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from tqdm import tqdm

from semidff.utils.atomic_write import atomic_path, atomic_write, read_json, write_json
from semidff.utils.files import PROJECT, file_state, installed_file, unique_name
from semidff.utils.image_detectors import config_text
from semidff.utils.run_folder import occupy
from semidff.utils.threads import thread_variables

from .experiment import Experiment, ExperimentError, Step
from .plot import PICTURES
from .tables import Measurement, build_tables

ROOT = Path(__file__).resolve().parents[2]
STAMP = '.stamp.json'
PRODUCTS = {'train': 'last.pth', 'row': 'metrics.json', 'speed': 'speed.json'}
GRACE_SECONDS = 5.0
MAX_SPREAD = 0.2  # relative interquartile range above which a measured speed is not shown


class StepFailed(RuntimeError):
    """A step failed; the message has the last lines of its log and the log's path."""


class ExperimentRunner:
    """Runs the steps of an experiment that are not done yet.

    Args:
        jobs: How many steps may run at the same time.

    Attributes:
        stamps: Those of the steps that are done, by name.
    """

    def __init__(self, experiment: Experiment, jobs: int = 2) -> None:
        self.experiment, self.jobs = experiment, jobs
        self.steps = [*experiment.steps, *(e.step for e in experiment.evaluations)]
        self.stamps: dict[str, dict[str, Any]] = {}
        self._text = cache(config_text)
        self._processes: list[subprocess.Popen] = []
        self._places: SimpleQueue[int] = SimpleQueue()  # each chooses a GPU
        for place in range(jobs):
            self._places.put(place)
        self._look_for_results()

    def _look_for_results(self) -> None:
        self.stamps.clear()
        for step in self.steps:
            self._is_done(step)
        evaluated = [e for e in self.experiment.evaluations if e.step.name in self.stamps]
        for step in self.experiment.speed_steps(evaluated):
            self._is_done(step)

    def _is_done(self, step: Step) -> bool:
        """Return whether a step is done, and remember its stamp."""
        stamp = _read_stamp(step)
        complete = stamp.get('finished') and _product(step).exists()
        if complete and self.stamps.keys() >= set(step.needs) and stamp['hash'] == self._hash(step):
            self.stamps[step.name] = stamp
            return True
        return False

    def _hash(self, step: Step) -> str:
        """Hash a step's definition, without the experiment's folder, so that it can be moved."""
        text = self._text(step.config, step.environment) if step.config else ''
        version = file_state(step.checkpoint) or None
        needs = [self.stamps[name] for name in step.needs]
        definition = json.dumps([step.command, text, version, needs], ensure_ascii=False)
        definition = definition.replace(f'{self.experiment.work_dir}/', '{work_dir}/')
        return hashlib.sha256(definition.encode()).hexdigest()[:16]

    def select(self, only: Collection[str] = ()) -> list[Step]:
        """Return the steps that are still to be run: all, or those named and what they need.

        A name stands for the step of every seed, and a row's name for all its key-frame intervals. The speed of the
        named rows is measured too, together with that of rows evaluated before.
        """
        evaluations = self.experiment.evaluations
        every = [*self.steps, *self.experiment.speed_steps(evaluations)]
        wanted = set() if only else {step.name for step in every}
        for name in only:
            # 'seed1/rows/copy/l5' is also called 'rows/copy/l5' and 'copy'
            pattern = rf'(seed\d+/)?({re.escape(name)}|rows/{re.escape(name)}(/l\d+)?)'
            found = {step.name for step in every if re.fullmatch(pattern, step.name)}
            if not found:
                names = [step.name for step in every]
                raise ExperimentError(f'no step or row {name!r}; there are {names}')
            wanted |= found
        for step in reversed(every):  # each step stands after those that it needs
            if step.name in wanted:
                wanted |= set(step.needs)
        evaluated = [e for e in evaluations if e.step.name in wanted | self.stamps.keys()]
        speed = self.experiment.speed_steps(evaluated)
        steps = [step for step in self.steps if step.name in wanted]
        steps += [step for step in speed if wanted & set(step.needs)]
        return [step for step in steps if not self._is_done(step)]

    def listing(self, only: Collection[str] = ()) -> str:
        """Return a line for each step: whether it is done, its kind, and the steps that it needs."""
        waiting = {step.name for step in self.select(only)}
        lines = []
        for step in [*self.steps, *self.experiment.speed_steps(self.experiment.evaluations)]:
            done = step.name in self.stamps and step.name not in waiting
            state = 'done' if done else 'to run' if step.name in waiting else 'left out'
            needs = f', needs {", ".join(step.needs)}' if step.needs else ''
            lines.append(f'{state:8}  {step.name} ({step.kind}{needs})')
        return '\n'.join(lines)

    def run(self, only: Collection[str] = ()) -> None:
        """Run the steps and return when all of them have succeeded.

        Raises:
            StepFailed: If a step failed; the others are stopped.
            FolderInUse: If another experiment runs in the same folder.
        """
        work_dir = self.experiment.work_dir
        if not self.select(only):
            print(f'Nothing to run: {len(self.stamps)} steps are done in {work_dir}', flush=True)
            return
        with occupy(work_dir, 'experiment'), ThreadPoolExecutor(self.jobs) as pool:
            self._look_for_results()  # an earlier command may just have finished some
            waiting, running = self.select(only), {}
            total = len(waiting)
            print(f'{total} steps to run in {work_dir}, {len(self.stamps)} done', flush=True)
            try:
                while waiting or running:
                    for step in list(waiting):
                        if self._may_start(step, running.values()):
                            waiting.remove(step)
                            beside = self._beside(step, (*waiting, *running.values()))
                            running[self._start(step, pool, beside)] = step
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        step = running.pop(future)
                        self.stamps[step.name], took = future.result()
                        count = total - len(waiting) - len(running)
                        print(f'{step.name}: done in {took} ({count}/{total})', flush=True)
            finally:
                self._stop(running)

    def _may_start(self, step: Step, running: Collection[Step]) -> bool:
        alone = step.alone or any(other.alone for other in running)
        free = not running if alone else len(running) < self.jobs
        return free and self.stamps.keys() >= set(step.needs)

    def _beside(self, step: Step, others: Iterable[Step]) -> int:
        """Return how many steps, waiting ones included, may run while one does, which is counted, too."""
        after = {step.name}
        for other in others:  # each one stands after those that it needs
            if not after.isdisjoint(other.needs):
                after.add(other.name)
        beside = [one for one in others if not one.alone and one.name not in after]
        return 1 if step.alone else min(self.jobs, 1 + len(beside))

    def _start(self, step: Step, pool: ThreadPoolExecutor, beside: int) -> Future:
        """Start a step; a training goes on if it was interrupted, other incomplete results are removed."""
        mark, stamp = self._hash(step), _read_stamp(step)
        resume = step.kind == 'train' and stamp.get('hash') == mark and not stamp['finished']
        if stamp and not resume:
            shutil.rmtree(step.folder)
        write_json(dict(hash=mark, finished=None), step.folder / STAMP)
        log = self.experiment.work_dir / 'logs' / f'{step.name}.log'
        log.parent.mkdir(parents=True, exist_ok=True)
        print(f'{step.name}: {"continued" if resume else "started"}, log in {log}', flush=True)
        return pool.submit(self._execute, step, mark, log, resume, beside)

    def _execute(
        self, step: Step, mark: str, log: Path, resume: bool, beside: int
    ) -> tuple[dict, str]:
        """Run a step to its end; return its stamp, with the hash ``mark``, and the time that it took."""
        start = time.monotonic()
        command = [*step.command, *(['--resume'] if resume else [])]
        if command[0].endswith('.py'):
            # The current folder may have other tools of the same names, as mmdetection's does.
            own = PROJECT / command[0] if step.kind in PRODUCTS else installed_file(command[0])
            command = [sys.executable, str(own), *command[1:]]
        elif command[0] == 'python':
            command[0] = sys.executable
        place = self._places.get()
        with log.open('ab' if resume else 'wb') as output:
            # the command as a user would type it, to repeat a step by hand
            settings = [f'{name}={shlex.quote(value)}' for name, value in step.environment]
            output.write(f'$ {" ".join([*settings, shlex.join(command)])}\n'.encode())
            output.flush()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **dict(step.environment),
                    **self._variables(step, place, beside),
                },
                start_new_session=True,
            )
            self._processes.append(process)
        status = process.wait()
        self._processes.remove(process)
        self._places.put(place)
        if status or not _product(step).exists():
            problem = f'exit status {status}' if status else f'no {_product(step)} was written'
            # of a progress bar the last state
            lines = log.read_text(errors='replace').rstrip().split('\n')[-20:]
            end = '\n'.join(line.split('\r')[-1].rstrip() for line in lines)
            raise StepFailed(
                f'{step.name} failed: {problem}. The end of its log:\n{end}\nThe whole log: {log}'
            )
        stamp = dict(hash=mark, finished=time.time())
        write_json(stamp, step.folder / STAMP)
        return stamp, tqdm.format_interval(time.monotonic() - start)

    def _variables(self, step: Step, place: int, beside: int) -> dict[str, str]:
        """Return the environment of a step: CPU threads, unless the user has set them, and its GPU of several.

        ``beside`` is the number of steps that share the cores.
        """
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
        variables = {'PYTHONUNBUFFERED': '1', 'PYTHONPATH': path}
        # A training or measurement that runs alone takes the cores that are idle.
        if beside > 1 or step.kind not in ('train', 'speed'):
            variables |= thread_variables(beside)
        listed = os.environ.get('CUDA_VISIBLE_DEVICES')
        gpus = listed.split(',') if listed else range(torch.cuda.device_count())
        if len(gpus) > 1:
            variables['CUDA_VISIBLE_DEVICES'] = str(gpus[place % len(gpus)])
        return variables

    def _stop(self, running: Collection[Future]) -> None:
        """Interrupt the running steps; after a few seconds, kill what remains, data workers too."""
        processes = list(self._processes)
        try:
            for process in processes:
                process.terminate()
            wait(running, GRACE_SECONDS)
        finally:
            for process in {*processes, *self._processes}:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def measurements(self) -> list[Measurement]:
        """Read the metrics of the rows that have been evaluated so far.

        ``fps`` and ``speed_up`` are those of the measurement of speed.
        """
        found = []
        for one in self.experiment.evaluations:
            if one.step.name not in self.stamps:
                continue
            file, speed = self.experiment.speed_file(one.row.group), {}
            first = one.seed == self.experiment.evaluations[0].seed
            if first and file.parent.name in self.stamps:  # the step is named after its folder
                speed = read_json(file)['rows'].get(one.label, {})
            busy = (speed.get('spread') or 0.0) > MAX_SPREAD
            metrics = read_json(_product(one.step))
            metrics |= {key: None if busy else speed.get(key) for key in ('fps', 'speed_up')}
            found.append(Measurement(one, metrics, busy))
        return found

    def write_report(self) -> str:
        """Write the tables of the rows that have been evaluated, with pictures; return them as text."""
        report, texts, names = self.experiment.report, [], set()
        picture, draw = PICTURES[report]
        for table in build_tables(self.measurements(), report):
            folder = self.experiment.work_dir
            if table.video:
                folder = folder / 'by_video' / unique_name(table.video, names)
            with atomic_write(folder / 'table.md') as file:
                file.write(table.markdown())
            write_json([line.as_json() for line in table.lines], folder / 'table.json', indent=2)
            with atomic_path(folder / picture) as path:
                draw(table.lines, path)
            texts.append(f'{table.video}\n\n{table.text()}'.lstrip())
        return '\n'.join(texts)


def _product(step: Step) -> Path:
    return step.folder / PRODUCTS.get(step.kind, '')


def _read_stamp(step: Step) -> dict[str, Any]:
    """Return the stamp of a step's folder; empty where there is none."""
    try:
        return read_json(step.folder / STAMP)
    except FileNotFoundError:
        return {}
