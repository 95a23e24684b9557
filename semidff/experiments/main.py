"""Entry points of ``tools/run_experiment.py``, ``accuracy_speed.py`` and ``accuracy_by_distance.py``."""

import argparse
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from semidff.utils.arguments import INTERRUPTED, add_cfg_options, run_tool
from semidff.utils.file_names import unique_name

from .curve import Run, build_curve
from .report import write_curve, write_distances, write_report
from .runner import ExperimentRunner
from .settings import ExperimentError
from .spec import load_experiment
from .table import by_video, collect


def run_continuable(work: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Run a tool that the same command continues; Ctrl-C ends it without unloading PyTorch, which takes seconds."""
    try:
        run_tool(work, args)
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        print('The same command continues from here.', file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def add_run_arguments(parser: argparse.ArgumentParser, methods: str) -> None:
    """Add the options that the tools for runs of several checkpoints have in common."""
    parser.add_argument(
        '--run',
        action='append',
        required=True,
        metavar='NAME=CONFIG,CHECKPOINT[,METHOD]',
        help=f'a checkpoint to test; METHOD: {methods}. Can be given several times. Method frame is '
        'added for each distinct detector',
    )
    parser.add_argument(
        '--out', required=True, metavar='DIR', help='folder for all results: tables, picture, logs'
    )
    add_cfg_options(
        parser,
        'every config, e.g. test_dataloader.dataset.ann_file=dev.json '
        'test_evaluator.ann_file=dev.json',
    )


def main(args: argparse.Namespace, methods: Collection[str]) -> None:
    """Run an experiment and print its table.

    Args:
        methods: Known methods of ``tools/test.py``.
    """
    experiment = load_experiment(args.config, methods, args.work_dir, args.cfg_options)
    runner = ExperimentRunner(experiment, args.jobs)
    only = [*args.only, *experiment.rows_of(args.tables)]
    if args.list:
        print(runner.listing(only))
        return
    runner.run(only)
    if measurements := collect(experiment, runner.done):
        folder = experiment.work_dir
        print('\n' + write_report(measurements, folder))
        names: set[str] = set()
        for video, alone in by_video(measurements).items():
            own = folder / 'by_video' / unique_name(video, names)
            print(f'{video}\n\n' + write_report(alone, own))
        print(f'Written to {folder}: table.md, table.json, table.png')


def curve_main(args: argparse.Namespace, methods: Collection[str]) -> None:
    """Run the evaluations of a curve of accuracy over speed, draw it and print its table."""
    runs = [Run.parse(text) for text in args.run]
    experiment = build_curve(runs, args.key_intervals, args.out, args.cfg_options, methods=methods)
    runner = ExperimentRunner(experiment, jobs=1)
    runner.run()
    print('\n' + write_curve(collect(experiment, runner.done), Path(args.out)))
    print(f'Written to {args.out}: table.md, table.json, curve.png')


def distance_main(args: argparse.Namespace, pairwise: Collection[str]) -> None:
    """Run evaluations at every distance from the key frame, draw them and print their table.

    Args:
        pairwise: Methods whose results depend on the key frame and the current frame only.
    """
    runs = [Run.parse(text) for text in args.run]
    for run in runs:
        if run.method not in pairwise:
            raise ExperimentError(
                f'run {run.name!r}: method {run.method!r} is unknown, or depends on more than the key frame and '
                f'the current frame, so that it has no accuracy at a distance; choose one of {", ".join(pairwise)}.'
            )
    options = {**(args.cfg_options or {}), 'test_cfg.protocol': 'pairs'}
    methods = ['frame', *pairwise]
    experiment = build_curve(
        runs, [args.key_interval], args.out, options, methods=methods, with_speed=False
    )
    runner = ExperimentRunner(experiment, jobs=1)
    runner.run()
    print('\n' + write_distances(collect(experiment, runner.done), Path(args.out)))
    print(f'Written to {args.out}: table.md, table.json, distance.png')
