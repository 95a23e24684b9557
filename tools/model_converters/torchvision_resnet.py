"""Convert the weights of one of torchvision's ResNets into a checkpoint of a backbone."""

import argparse
import sys

from semidff.converters.torchvision import convert_file
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.model_building import ConfigError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help="torchvision's state dict (.pth)")
    parser.add_argument('out', metavar='OUT', help='checkpoint to write')
    parser.add_argument(
        '--config',
        help="config whose model's backbone the weights must fit; stages that it lacks are skipped",
    )
    args = parser.parse_args()
    try:
        lines = convert_file(args.source, args.out, args.config)
    except (CheckpointError, ConfigError, OSError) as error:
        sys.exit(f'tools/model_converters/torchvision_resnet.py: {error}')
    print('\n'.join(lines))


if __name__ == '__main__':
    main()
