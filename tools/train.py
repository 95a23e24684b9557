"""Train a model: stage one, stage two or flow pre-training, depending on the config."""

import argparse

from semidff.engine.launch import add_launch_arguments
from semidff.engine.training import run_training
from semidff.utils.arguments import ToolParser, run_tool
from semidff.utils.tool_files import CheckpointFile, InputFile


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument(
        'config',
        type=InputFile,
        help='config file, for example configs/quickstart/rfcn_synthetic.py',
    )
    parser.add_argument(
        '--resume',
        type=CheckpointFile,
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from CHECKPOINT, or from the latest checkpoint in the work directory if there is one',
    )
    parser.add_argument('--amp', action='store_true', help='use automatic mixed precision')
    parser.add_argument(
        '--accumulate',
        type=int,
        metavar='N',
        help='update the weights with the mean gradient of N batches, which count as one iteration',
    )
    parser.add_argument(
        '--seed',
        type=int,
        help="random seed (default: the config's; of a resumed training, its own)",
    )
    add_launch_arguments(parser, 'train_cfg.max_iters=100')
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(run_training, parse_args())
