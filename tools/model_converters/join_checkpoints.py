"""Assemble a checkpoint from parts of others, such as a detector and a flow network."""

import argparse

from semidff.converters.join import Part, join_checkpoints
from semidff.utils.arguments import ToolParser, run_tool
from semidff.utils.tool_files import CheckpointFile, OutputFile


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument(
        '--part',
        action='append',
        required=True,
        type=Part.parse,
        metavar='NAME=FILE[:PREFIX]',
        help='module of the new checkpoint, file with its weights, and name of the module in that file, such as '
        'temporal=flow.pth:temporal; give the option once per part',
    )
    parser.add_option_for(CheckpointFile)
    parser.add_argument('--out', type=OutputFile, required=True, help='checkpoint to write')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    weights = join_checkpoints(args.part, args.out)
    print(f'{args.out}: {len(weights)} tensors from {len(args.part)} checkpoints')


if __name__ == '__main__':
    run_tool(main, parse_args())
