"""Runs a chain: trainings, the evaluation rows of semi-DFF's Table 1, and the table itself."""

import argparse
import sys

from mmengine.config import DictAction

from semidff.experiments.main import main


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='chain config, e.g. configs/quickstart/experiment.py')
    parser.add_argument(
        '--work-dir', help='folder for all results; default: work_dir of the config'
    )
    parser.add_argument(
        '--jobs', type=int, default=2, help='steps that may run at the same time (default: 2)'
    )
    parser.add_argument(
        '--only',
        nargs='+',
        default=[],
        metavar='STEP',
        help='run only these steps or rows and what they need (default: everything)',
    )
    parser.add_argument(
        '--list', action='store_true', help='list the steps and whether they are done; run nothing'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the chain config, e.g. seeds=[0,1,2] key_intervals=[5,10]',
    )
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main(parse_args()))
