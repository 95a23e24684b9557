"""Assemble a checkpoint from parts of others, such as a detector and a flow network."""

import argparse
import sys

from semidff.converters.join import Part, join_checkpoints
from semidff.utils.checkpoint import CheckpointError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--part',
        action='append',
        required=True,
        type=Part.parse,
        metavar='NAME=FILE[:PREFIX]',
        help='module of the new checkpoint, file with its weights, and name of the module in that file, such as '
        'temporal=flow.pth:temporal; give the option once per part',
    )
    parser.add_argument('--out', required=True, help='checkpoint to write')
    args = parser.parse_args()
    try:
        weights = join_checkpoints(args.part, args.out)
    except CheckpointError as error:
        sys.exit(f'error: {error}')
    print(f'{args.out}: {len(weights)} tensors from {len(args.part)} checkpoints')


if __name__ == '__main__':
    main()
