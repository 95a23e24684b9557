"""What `tools/run_experiment.py`, `accuracy_speed.py` and `accuracy_by_distance.py` do with their arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from .curve import Run, build_curve
from .distance import check_pairwise, distance_lines
from .report import collect, write_curve, write_distances, write_report
from .runner import ExperimentRunner, StepFailed
from .settings import ExperimentError
from .spec import load_experiment
from .table import by_video

INTERRUPTED = 130


def main(args: argparse.Namespace) -> int:
    """Runs a chain and prints its table.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    return _status(_run_chain, args)


def curve_main(args: argparse.Namespace, digest: Callable[[str], str]) -> int:
    """Runs the evaluations of a curve, draws it and prints its table.

    Args:
        args: The tool's.
        digest: As in :func:`~semidff.experiments.curve.build_curve`.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    return _status(partial(_run_curve, digest=digest), args)


def distance_main(
    args: argparse.Namespace, digest: Callable[[str], str], pairwise: Collection[str]
) -> int:
    """Runs the evaluations at every distance from the key frame, draws them and prints their table.

    Args:
        args: The tool's.
        digest: As in :func:`~semidff.experiments.curve.build_curve`.
        pairwise: Methods that can be evaluated so.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    return _status(partial(_run_distances, digest=digest, pairwise=pairwise), args)


def _status(work: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> int:
    try:
        work(args)
    except KeyboardInterrupt:
        print('\nStopped. The same command continues from here.', file=sys.stderr)
        return INTERRUPTED
    except (StepFailed, ExperimentError, OSError, ValueError, RuntimeError) as error:
        print(f'\nError: {error}', file=sys.stderr)
        return 1
    return 0


def _run_chain(args: argparse.Namespace) -> None:
    chain = load_experiment(args.config, args.work_dir, args.cfg_options)
    runner = ExperimentRunner(chain, args.jobs)
    if args.list:
        print(runner.listing(args.only))
        return
    runner.run(args.only)
    if measurements := collect(chain):
        print('\n' + write_report(measurements, chain.work_dir))
        for video, alone in by_video(measurements).items():
            print(f'{video}\n\n' + write_report(alone, chain.work_dir / 'by_video' / video))
        print(f'Written to {chain.work_dir}: table.md, table.json, table.png')


def _run_curve(args: argparse.Namespace, digest: Callable[[str], str]) -> None:
    runs = [Run.parse(text) for text in args.run]
    curve = build_curve(runs, args.key_intervals, args.out, args.cfg_options, digest=digest)
    ExperimentRunner(curve.chain, jobs=1).run()
    print('\n' + write_curve(curve.measurements(), Path(args.out)))
    print(f'Written to {args.out}: table.md, table.json, curve.png')


def _run_distances(
    args: argparse.Namespace, digest: Callable[[str], str], pairwise: Collection[str]
) -> None:
    runs = [Run.parse(text) for text in args.run]
    check_pairwise(runs, pairwise)
    options = {**(args.cfg_options or {}), 'test_cfg.protocol': 'pairs'}
    curve = build_curve(runs, [args.key_interval], args.out, options, digest=digest)
    ExperimentRunner(curve.chain, jobs=1).run()
    measured = [item for group in curve.measurements() for item in group]
    print('\n' + write_distances(distance_lines(measured), Path(args.out)))
    print(f'Written to {args.out}: table.md, table.json, distance.png')
