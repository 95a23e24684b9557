"""Converts parameters of the original Deep Feature Flow (MXNet) into a checkpoint, or a checkpoint back."""

import argparse
import sys

from semidff.converters.fit import ConfigError
from semidff.converters.mxnet.boxes import FORMS
from semidff.converters.mxnet.convert import convert_file, revert_file
from semidff.converters.mxnet.names import PARTS, SMALL_PARTS, NameMappingError
from semidff.converters.mxnet.params_file import LAYOUTS, MXNetFileError
from semidff.utils.checkpoint import CheckpointError

ERRORS = (MXNetFileError, NameMappingError, CheckpointError, ConfigError, OSError)


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'source', metavar='IN', help='file of parameters (.params); with --reverse a checkpoint'
    )
    parser.add_argument('out', metavar='OUT', help='file to write')
    parser.add_argument(
        '--config',
        help='config whose model the weights shall fit; nothing is written if they do not',
    )
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=[*PARTS, *SMALL_PARTS],
        help='parts to convert (default: those that the file has)',
    )
    parser.add_argument(
        '--boxes',
        choices=FORMS,
        help="what the file's box weights rfcn_bbox_* are: copies: the training's, with the inference's as *_test; "
        "inference: the inference's, already multiplied by the deviations; training: the training's (default: copies "
        'if there is a *_test, else inference; with --reverse the form that the checkpoint was made from, else copies)',
    )
    parser.add_argument(
        '--pass-over',
        nargs='+',
        default=[],
        metavar='NAME',
        help='beginnings of names that the file may have beside the known ones',
    )
    parser.add_argument('--reverse', action='store_true', help='convert a checkpoint back')
    parser.add_argument(
        '--layout',
        choices=LAYOUTS,
        default='v2',
        help="layout of the records that --reverse writes: v2 is MXNet 1.x's (default)",
    )
    return parser.parse_args()


def main() -> None:
    """Converts; bad files and options end it with a message and exit code 1."""
    args = parse_args()
    common = (args.source, args.out, args.parts, args.boxes, args.config)
    notes = []
    try:
        if args.reverse:
            converted = revert_file(*common, args.layout)
        else:
            converted, notes = convert_file(*common, args.pass_over)
    except ERRORS as error:
        sys.exit(f'tools/model_converters/mxnet.py: {error}')
    print('\n'.join([*converted.lines(args.source, args.out), *(f'note: {n}' for n in notes)]))


if __name__ == '__main__':
    main()
