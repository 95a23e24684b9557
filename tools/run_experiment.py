"""Run an experiment: trainings, evaluations and tables."""

import argparse
from functools import partial

from semidff.experiments.main import main, run_continuable
from semidff.inference.methods import METHODS
from semidff.utils.arguments import ToolParser, add_cfg_options
from semidff.utils.tool_files import InputFile


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument(
        'config', type=InputFile, help='experiment config, e.g. configs/quickstart/experiment.py'
    )
    parser.add_argument(
        '--work-dir', help='folder for all results (default: work_dir of the config)'
    )
    parser.add_argument(
        '--jobs', type=int, default=2, help='steps that may run at the same time (default: 2)'
    )
    parser.add_argument(
        '--only',
        nargs='+',
        default=[],
        metavar='STEP',
        help='run only these steps or rows and what they need (default: all)',
    )
    parser.add_argument(
        '--tables',
        nargs='+',
        default=[],
        metavar='TABLE',
        help='run only the rows of these tables and what they need, e.g. 1 3a (default: all)',
    )
    parser.add_argument(
        '--list', action='store_true', help='list the steps and whether they are done; run nothing'
    )
    add_cfg_options(parser, 'the experiment config, e.g. seeds=[0,1,2] key_intervals=[5,10]')
    return parser.parse_args()


if __name__ == '__main__':
    run_continuable(partial(main, methods=list(METHODS.module_dict)), parse_args())
