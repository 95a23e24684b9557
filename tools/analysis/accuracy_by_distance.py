"""Draws accuracy over the distance from the key frame: tests checkpoints with protocol pairs (DFF 5.2).

Every labeled frame is predicted from each of the L frames before it (and itself). Evaluations run one
after another; the same command continues where it was stopped, and finished evaluations are kept as long
as config, checkpoint and settings are the same.
"""

import argparse
import sys

from mmengine.config import DictAction

from semidff.experiments.main import distance_main
from semidff.inference.methods import METHODS
from semidff.utils.checkpoint import detector_digest


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--run',
        action='append',
        required=True,
        metavar='NAME=CONFIG,CHECKPOINT[,METHOD]',
        help='a line of the picture; METHOD: propagate (default), copy, sff-fast or sff-slow. May be given several '
        'times. Method frame is tested for each different detector without being asked for',
    )
    parser.add_argument(
        '--key-interval',
        type=int,
        default=10,
        metavar='L',
        help='distances are 0 ... L-1 frames (default: 10)',
    )
    parser.add_argument(
        '--out', required=True, metavar='DIR', help='folder for all results: tables, picture, logs'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of every config, e.g. test_dataloader.dataset.ann_file=dev.json',
    )
    return parser.parse_args()


if __name__ == '__main__':
    pairwise = [name for name, method in METHODS.module_dict.items() if method.pairwise]
    sys.exit(distance_main(parse_args(), detector_digest, pairwise))
