"""Convert parameters of the original Deep Feature Flow (MXNet) into a checkpoint."""

from semidff.converters.fit import argument_parser, run_converter
from semidff.converters.mxnet.boxes import FORMS
from semidff.converters.mxnet.checkpoint import convert_file
from semidff.converters.mxnet.names import PARTS, SMALL_PARTS

if __name__ == '__main__':
    parser = argument_parser(__doc__, '.params')
    parser.add_argument(
        '--parts',
        nargs='+',
        choices=[*PARTS, *SMALL_PARTS],
        help='parts to convert (default: all parts in the file)',
    )
    parser.add_argument(
        '--boxes',
        dest='form',
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
    run_converter(convert_file, parser)
