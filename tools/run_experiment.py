"""Run an experiment: trainings, evaluations and tables; or evaluate several checkpoints and plot them.

The same command continues after an interruption. Finished steps are kept as long as their configs, checkpoints and
settings are the same.
"""

import argparse
from pathlib import Path

from semidff.utils.arguments import ToolParser, add_cfg_options, run_tool


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    help = 'experiment config, e.g. configs/quickstart/experiment.py'
    parser.add_input('config', nargs='?', help=help)
    help = 'folder for all results (default: work_dir of the config)'
    parser.add_argument('--work-dir', help=help)
    parser.add_value('--jobs', 2, 'steps that may run at the same time')
    help = 'run only these steps or rows and what they need (default: all)'
    parser.add_argument('--only', nargs='+', default=[], metavar='STEP', help=help)
    help = 'run only the rows of these tables and what they need, e.g. 1 3a (default: all)'
    parser.add_argument('--tables', nargs='+', default=[], metavar='TABLE', help=help)
    parser.add_flag('--list', 'list the steps and whether they are done; run nothing')
    parser.add_argument(
        '--run',
        action='append',
        metavar='NAME=CONFIG,CHECKPOINT[,METHOD]',
        help='in place of an experiment config: a checkpoint to test and the method of tools/test.py (default: '
        'propagate). Can be given several times. Method frame is added for each distinct detector. Accuracy is plotted '
        'over speed',
    )
    help = 'of --run: plot accuracy over the distance from the key frame, 0 ... L-1 frames (protocol pairs)'
    parser.add_flag('--distances', help)
    help = 'of --run: a key frame every L frames (default: 1 2 5 10 15 20; with --distances 10)'
    parser.add_argument('--key-intervals', type=int, nargs='+', metavar='L', help=help)
    config = 'the experiment config, e.g. seeds=[0,1,2] key_intervals=[5,10]; with --run, of every model config'
    add_cfg_options(parser, config)
    args = parser.parse_args()
    if bool(args.config) == bool(args.run) or (args.run and not args.work_dir):
        parser.error('expected an experiment config, or --run and --work-dir')
    return args


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (without messages of mmdet)
    from semidff.experiments import ExperimentRunner, load_experiment, load_runs
    from semidff.inference.methods import METHODS, pairwise_methods

    if args.run:
        methods = ['frame', *pairwise_methods()] if args.distances else list(METHODS.module_dict)
        experiment = load_runs(
            args.run, methods, args.work_dir, args.key_intervals, args.cfg_options, args.distances
        )
    else:
        methods = list(METHODS.module_dict)
        experiment = load_experiment(args.config, methods, args.work_dir, args.cfg_options)
    runner = ExperimentRunner(experiment, args.jobs)
    only = [*args.only, *experiment.rows_of(args.tables)]
    if args.list:
        print(runner.listing(only))
        return
    runner.run(only)
    if any(evaluation.step.name in runner.stamps for evaluation in experiment.evaluations):
        print(f'\n{runner.write_report()}\nWritten to {experiment.work_dir}')
        for evaluation in experiment.evaluations:
            if (videos := evaluation.step.folder / 'videos').is_dir():
                print(f'Rendered videos of {evaluation.row.name}: {videos}')
    if experiment.result and Path(experiment.result).is_file():
        text = Path(experiment.result).read_text().split('\n## ')[0]
        print(f'\n{text}\nMore in {experiment.result}')


if __name__ == '__main__':
    run_tool(main, parse_args())
