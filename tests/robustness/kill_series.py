"""Kill trainings and tools/video_demo.py at random moments; check that they continue with the same result.

    python tests/robustness/kill_series.py [--kills 52] [--seed 0] [--fork] [--only stage_one ...]

Each subject runs once without interruption. Then it is started and killed (SIGKILL, without its children) several times
in the same folder, and finally run to its end with the same command. Half of the moments are uniform over the duration
of the uninterrupted run; the others follow the appearance of an unfinished file. Checked are:

- after each kill: every file under its final name is complete, ``last_checkpoint`` names a checkpoint, unfinished files
  do not accumulate, and no process is left after 10 seconds;
- at the end: weights and optimizer states are bit-identical to those of the uninterrupted run, detections and videos
  are equal byte for byte, metrics are equal, and no unfinished file is left.
"""

import argparse
import json
import multiprocessing
import os
import random
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from semidff.utils.safe_loading import load_file  # noqa: E402
from semidff.utils.video_writer import VideoWriter, count_packets  # noqa: E402
from tests import models, stage_two, tiny_video  # noqa: E402

FRAMES = 120
ORPHAN_SECONDS = 10.0
UNFINISHED = '.*.tmp*'

COMMON = """
_base_ = 'semidff::_base_/default_runtime.py'
_test = {test!r}
test_dataloader, test_evaluator, test_cfg = (_test[k] for k in ('test_dataloader', 'test_evaluator', 'test_cfg'))
default_hooks = dict(checkpoint=dict(interval=2, max_keep_ckpts=1), logger=dict(interval=5))
model = {model!r}
train_dataloader = {loader!r}
train_cfg = {loop!r}
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=10)]
"""
LOAD = """
load_parts = dict(detector=dict(
    part='spatial.detector', checkpoint='{{{{$RUN_DIR:{default}}}}}/stage_one/last.pth'))
"""


class Subject(NamedTuple):
    """A command that is killed.

    Attributes:
        command: Returns the arguments for a folder of results.
        results: Returns what has to be equal in the end, by name.
        unfinished: Largest number of files that are written at the same time.
        sightings: Unfinished files of a run up to which a kill waits.
        needs: Subjects whose uninterrupted results it reads.
    """

    name: str
    command: Callable[[Path], list[str]]
    results: Callable[[Path], dict]
    unfinished: int
    sightings: int = 6
    needs: tuple[str, ...] = ()


def write_project(folder: Path) -> None:
    """Write data and configs into a folder."""
    ann_file = tiny_video.write_videos(folder, (12, 12))
    videos = stage_two.write_videos(folder)
    with VideoWriter(folder / 'in.mp4') as writer:
        for index in range(FRAMES):
            writer.write(tiny_video.frame(0, index))
    test = tiny_video.test_settings(ann_file, folder / 'unused')
    model = models.video_config()
    labeled = dict(
        type='CocoVIDDataset',
        ann_file=str(ann_file),
        data_prefix=dict(img=str(folder)),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    )
    pairs = dict(stage_two.config(videos, folder).train_dataloader.dataset.dataset)
    for name, dataset in (('one', labeled), ('two', pairs)):
        loader = dict(
            batch_size=2,
            num_workers=1,
            persistent_workers=True,
            sampler=dict(type='StreamSampler'),
            collate_fn=dict(type='pseudo_collate'),
            dataset=dict(type='SampleStream', dataset=json.loads(json.dumps(dataset))),
        )
        loop = dict(type='IterBasedTrainLoop', max_iters=24)
        detector = dict(models.rfcn(), data_preprocessor=model['data_preprocessor'])
        if name == 'two':
            steps = [
                dict(name='regression', iters=12, objectives=[dict(type='FeatureRegression')], trainable=['temporal']),
                dict(name='semantic', iters=12, objectives=[dict(type='FeatureSemantics')],
                     trainable=['temporal', 'task_network']),
            ]  # fmt: skip
            loop = dict(type='DistillationLoop', steps=steps)
        chosen = model if name == 'two' else detector
        text = COMMON.format(test=test, model=chosen, loader=loader, loop=loop)
        (folder / f'{name}.py').write_text(
            text + (LOAD.format(default=folder / 'whole') if name == 'two' else '')
        )


def subjects(project: Path) -> list[Subject]:
    """Return the subjects; later ones use results of uninterrupted runs of the earlier ones."""

    def train(config: str) -> Callable[[Path], list[str]]:
        return lambda out: [
            'tools/train.py', str(project / config), '--work-dir', str(out), '--resume',
        ]  # fmt: skip

    def demo(out: Path) -> list[str]:
        files = [f'--{kind}={out / "boxes"}.{end}' for kind, end in
                 (('out', 'mp4'), ('json', 'json'), ('txt', 'txt'))]  # fmt: skip
        weights = project / 'whole' / 'two_step' / 'last.pth'
        inputs = [str(project / 'in.mp4'), str(project / 'two.py'), str(weights)]
        options = ['--key-interval', '5', '--device', 'cpu', '--overwrite']
        return ['tools/video_demo.py', *inputs, *files, *options]

    return [
        Subject('stage_one', train('one.py'), lambda out: state(out / 'last.pth'), 1),
        Subject('two_step', train('two.py'), stage_two_results, 1, needs=('stage_one',)),
        Subject(
            'video_demo',
            demo,
            lambda out: {path.name: path.read_bytes() for path in out.iterdir()},
            unfinished=3,
            sightings=3,
            needs=('stage_one', 'two_step'),
        ),
    ]


def stage_two_results(out: Path) -> dict:
    first = {f'regression {k}': v for k, v in state(out / 'regression.pth').items()}
    return first | state(out / 'last.pth')


def state(path: Path) -> dict:
    """Weights, optimizer state and iteration of a checkpoint."""
    checkpoint = load_file(path)
    found = {**checkpoint['state_dict'], 'iteration': checkpoint['meta']['iter']}
    moments = checkpoint['optimizer']['state']
    return found | {f'{n} {k}': v for n, own in moments.items() for k, v in own.items()}


class Run:
    """A tool in a process, session and process group of its own.

    Args:
        command: The tool's path and its arguments.
        fork: Whether to fork this process, which has imported everything, instead of starting Python.
    """

    def __init__(self, command: list[str], log: Path, fork: bool) -> None:
        self.process: subprocess.Popen | multiprocessing.Process
        if fork:
            self.process = multiprocessing.get_context('fork').Process(
                target=run_forked, args=(command, log)
            )
            self.process.start()
            return
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
        with log.open('ab') as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / command[0]), *command[1:]], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
            )  # fmt: skip

    def is_alive(self) -> bool:
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll() is None
        return self.process.is_alive()

    def wait(self) -> int:
        if isinstance(self.process, subprocess.Popen):
            return self.process.wait()
        self.process.join()
        return self.process.exitcode

    def kill_at(self, out: Path, seconds: float, sighting: int) -> bool:
        """Kill the process after some seconds, or after the n-th unfinished file; return False if it ended before.

        Args:
            out: Folder of its results.
            seconds: From the start, or from the unfinished file.
            sighting: n; 0: no file is waited for.
        """
        earlier, seen = set(out.rglob(UNFINISHED)), set()
        deadline = time.monotonic() + (seconds if not sighting else 900)
        while time.monotonic() < deadline and self.is_alive():
            if sighting:
                seen |= set(out.rglob(UNFINISHED)) - earlier
                if len(seen) >= sighting:
                    time.sleep(seconds)
                    break
            time.sleep(0.001 if sighting else 0.01)
        alive = self.is_alive()
        self.process.kill()
        self.wait()
        return alive

    def left_behind(self, out: Path) -> list[int]:
        """Return the processes of its session, and those with open files or arguments in the folder of its results."""
        found = []
        for entry in Path('/proc').glob('[0-9]*'):
            try:
                state, _, _, session = (entry / 'stat').read_text().rpartition(')')[2].split()[:4]
                used = [os.readlink(file) for file in (entry / 'fd').iterdir()]
                used += (entry / 'cmdline').read_text().split('\0')
            except OSError:
                continue
            inside = any(name.startswith(f'{out}/') or name == str(out) for name in used)
            if state != 'Z' and (int(session) == self.process.pid or inside):
                found.append(int(entry.name))
        return found


def run_forked(command: list[str], log: Path) -> None:
    os.setsid()
    with log.open('ab') as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    runpy.run_path(sys.argv[0], run_name='__main__')


def problems_after_kill(subject: Subject, run: Run, out: Path) -> Iterator[str]:
    left, deadline = run.left_behind(out), time.monotonic() + ORPHAN_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = run.left_behind(out)
    if left:
        yield f'{len(left)} processes are left after {ORPHAN_SECONDS:.0f} s'
    if (count := len(list(out.rglob(UNFINISHED)))) > subject.unfinished:
        yield f'{count} unfinished files'
    for path in out.rglob('[!.]*'):
        try:
            if path.suffix == '.pth':
                load_file(path)
            elif path.suffix == '.json' and path.parent.name != 'vis_data':
                json.loads(path.read_text())
            elif path.suffix == '.mp4' and count_packets(path) != FRAMES:
                yield f'{path.name} has {count_packets(path)} of {FRAMES} frames'
            elif path.name == 'last_checkpoint' and not Path(path.read_text()).is_file():
                yield f'last_checkpoint names {path.read_text()!r}'
        except Exception as error:
            yield f'{path.name}: {error!r}'


def differences(whole: dict, found: dict) -> Iterator[str]:
    for key in whole.keys() | found.keys():
        one, other = whole.get(key), found.get(key)
        tensors = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
        if not (torch.equal(one, other) if tensors else one == other):
            yield f'{key} differs'


def episode(
    subject: Subject,
    out: Path,
    kills: int,
    duration: float,
    fork: bool,
    generator: random.Random,
) -> tuple[int, list[str]]:
    """Kill a run up to ``kills`` times, then complete it; return the number of kills, and the problems."""
    out.mkdir()
    whole = out.parent / 'whole' / subject.name
    log, done, problems = out.with_suffix('.log'), 0, []
    while done < kills:
        aimed = generator.random() < 0.5
        sighting = generator.randint(1, subject.sightings) if aimed else 0
        seconds = generator.uniform(0, 0.02) if aimed else generator.uniform(0, duration)
        run, began = Run(subject.command(out), log, fork), time.monotonic()
        if not run.kill_at(out, seconds, sighting):
            break
        took, done = time.monotonic() - began, done + 1
        unfinished = len(list(out.rglob(UNFINISHED)))
        found = list(problems_after_kill(subject, run, out))
        problems += found
        where = (
            f'unfinished file {sighting} + {1000 * seconds:.0f} ms' if aimed else 'random moment'
        )
        files = ' '.join(sorted(path.name for path in out.rglob('[!.]*.pth')))
        print(
            f'{subject.name}: killed after {took:.1f} s ({where}), {unfinished} unfinished; '
            f'{files or "no checkpoints"}; {found or "ok"}', flush=True,
        )  # fmt: skip
    status = Run(subject.command(out), log, fork).wait()
    if status:
        problems.append(f'exit status {status}: {log.read_text(errors="replace")[-500:]}')
    else:
        problems += differences(subject.results(whole), subject.results(out))
        problems += [f'{path.name} is left' for path in out.rglob(UNFINISHED)]
    print(f'{subject.name}: completed after {done} kills; {problems or "same result"}', flush=True)
    return done, problems


def run_whole(subject: Subject, project: Path, fork: bool) -> float:
    """Run a subject without interruption and return the duration in seconds."""
    out = project / 'whole' / subject.name
    out.mkdir(parents=True)
    began, log = time.monotonic(), out.with_suffix('.log')
    if Run(subject.command(out), log, fork).wait():
        sys.exit(f'the uninterrupted run fails: {log.read_text()[-2000:]}')
    duration = time.monotonic() - began
    print(f'{subject.name}: {duration:.1f} s without interruption', flush=True)
    return duration


def series(
    subject: Subject,
    project: Path,
    kills: int,
    duration: float,
    fork: bool,
    generator: random.Random,
) -> list[str]:
    done, number, problems = 0, 0, []
    while done < kills:
        wanted = min(kills - done, generator.randint(3, 6))
        out = project / f'{subject.name}{number}'
        count, found = episode(subject, out, wanted, duration, fork, generator)
        done, number, problems = done + count, number + 1, problems + found
        if not found:
            shutil.rmtree(out)
    print(f'{subject.name}: {done} kills in {number} runs, {len(problems)} problems', flush=True)
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--kills', type=int, default=52, help='in all (default: 52)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', nargs='+', metavar='SUBJECT', help='kill these subjects only')
    parser.add_argument(
        '--fork', action='store_true', help='fork runs, so that no moment falls into the imports'
    )
    parser.add_argument(
        '--work-dir',
        help='a new folder (default: a temporary one, kept if there are problems)',
    )
    args = parser.parse_args()
    project = Path(args.work_dir or tempfile.mkdtemp(prefix='kill_series_')).resolve()
    project.mkdir(parents=True, exist_ok=True)
    write_project(project)
    problems, known = {}, subjects(project)
    chosen = [s.name for s in known if not args.only or s.name in args.only]
    needed = {name for s in known if s.name in chosen for name in (s.name, *s.needs)}
    for subject in [s for s in known if s.name in needed]:
        duration = run_whole(subject, project, args.fork)
        if subject.name in chosen:
            generator = random.Random(f'{args.seed} {subject.name}')
            kills = -(-args.kills // len(chosen))
            found = series(subject, project, kills, duration, args.fork, generator)
            problems[subject.name] = found
    for name, found in problems.items():
        print(f'{name}: {found or "no problems"}')
    if not any(problems.values()) and not args.work_dir:
        shutil.rmtree(project)
    sys.exit(any(problems.values()))


if __name__ == '__main__':
    main()
