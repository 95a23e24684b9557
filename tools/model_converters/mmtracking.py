"""Convert a checkpoint of mmtracking's DFF, or of its FlowNetSimple alone."""

import argparse
import sys

from semidff.converters.mmtracking import convert_file
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.model_building import ConfigError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help="mmtracking's checkpoint (.pth)")
    parser.add_argument('out', metavar='OUT', help='checkpoint to write')
    parser.add_argument(
        '--config',
        help='config whose model the weights must fit; nothing is written if they do not',
    )
    args = parser.parse_args()
    try:
        state = convert_file(args.source, args.out, args.config)
    except (CheckpointError, ConfigError, OSError) as error:
        sys.exit(f'tools/model_converters/mmtracking.py: {error}')
    print(f'{args.out}: {len(state)} tensors from {args.source}')


if __name__ == '__main__':
    main()
