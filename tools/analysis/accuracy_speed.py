"""Draws accuracy over speed: tests checkpoints at several key intervals (DFF Figure 3).

Each evaluation is a process of its own, one after another, so that nothing disturbs the speed. The
same command continues where it was stopped; finished evaluations are kept as long as config,
checkpoint and settings are the same.
"""

import argparse
import sys

from mmengine.config import DictAction

from semidff.experiments.main import curve_main
from semidff.utils.checkpoint import detector_digest


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--run',
        action='append',
        required=True,
        metavar='NAME=CONFIG,CHECKPOINT[,METHOD]',
        help='a line of the curve; METHOD as in tools/test.py (default: propagate). May be given '
        'several times. Method frame is tested for each different detector without being asked for',
    )
    parser.add_argument(
        '--key-intervals',
        type=int,
        nargs='+',
        default=[1, 2, 5, 10, 15, 20],
        metavar='L',
        help='a key frame every L frames (default: 1 2 5 10 15 20)',
    )
    parser.add_argument(
        '--out', required=True, metavar='DIR', help='folder for all results: tables, picture, logs'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of every config, e.g. test_cfg.protocol=pairs',
    )
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(curve_main(parse_args(), detector_digest))
