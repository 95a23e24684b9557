"""Convert parameters of the original Deep Feature Flow (MXNet) into a checkpoint."""

import argparse
import sys

from semidff.converters.mxnet.boxes import FORMS
from semidff.converters.mxnet.convert import convert_file
from semidff.converters.mxnet.names import PARTS, SMALL_PARTS, NameMappingError
from semidff.converters.mxnet.params_file import MXNetFileError
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.model_building import ConfigError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help='file of parameters (.params)')
    parser.add_argument('out', metavar='OUT', help='checkpoint to write')
    parser.add_argument(
        '--config',
        help='config whose model the weights must fit; nothing is written if they do not',
    )
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=[*PARTS, *SMALL_PARTS],
        help='parts to convert (default: all parts in the file)',
    )
    parser.add_argument(
        '--boxes',
        choices=FORMS,
        help='meaning of the box weights rfcn_bbox_* in the file: copies: weights of training, with those of inference '
        'as *_test; inference: weights of inference, already multiplied by the deviations; training: weights of '
        'training (default: copies if there is a *_test, else inference)',
    )
    parser.add_argument(
        '--pass-over',
        nargs='+',
        default=[],
        metavar='NAME',
        help='prefixes of unknown parameter names to skip',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        converted, notes = convert_file(
            args.source, args.out, args.parts, args.boxes, args.config, args.pass_over
        )
    except (MXNetFileError, NameMappingError, CheckpointError, ConfigError, OSError) as error:
        sys.exit(f'tools/model_converters/mxnet.py: {error}')
    print('\n'.join([*converted.lines(args.source, args.out), *(f'note: {n}' for n in notes)]))


if __name__ == '__main__':
    main()
