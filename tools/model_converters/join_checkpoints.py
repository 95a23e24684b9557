"""Puts a checkpoint together from parts of others, for example a detector and a flow network."""

import argparse
import sys

from semidff.converters.join import Part, join_checkpoints
from semidff.utils.checkpoint import CheckpointError


def main() -> None:
    """Reads the command line and writes the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--part',
        action='append',
        required=True,
        type=Part.parse,
        metavar='NAME=FILE[:PREFIX]',
        help='a module of the new checkpoint, the file with its weights, and its name in that file, for example '
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
