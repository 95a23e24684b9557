"""Plot accuracy over speed: test checkpoints at several key-frame intervals (DFF Figure 3).

Evaluations run one after another; then the speed of all is measured in turn, in one process. The
same command continues after an interruption. Finished evaluations are kept as long as config,
checkpoint and settings are the same.
"""

import argparse

from semidff.experiments.main import add_run_arguments, curve_main, leave
from semidff.inference.methods import METHODS


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_arguments(parser, 'as in tools/test.py (default: propagate)')
    parser.add_argument(
        '--key-intervals',
        type=int,
        nargs='+',
        default=[1, 2, 5, 10, 15, 20],
        metavar='L',
        help='a key frame every L frames (default: 1 2 5 10 15 20)',
    )
    return parser.parse_args()


if __name__ == '__main__':
    leave(curve_main(parse_args(), list(METHODS.module_dict)))
