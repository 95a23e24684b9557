"""Convert parameters of the original Deep Feature Flow (MXNet), or join parts of several checkpoints."""

import argparse

from semidff.utils.arguments import ToolParser, run_tool


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    kinds = parser.add_subparsers(dest='kind', required=True)
    mxnet = kinds.add_parser('mxnet', help='parameters of the original (MXNet)')
    mxnet.add_input('source', metavar='IN', help='file to convert (.params)')
    mxnet.add_output('out', metavar='OUT', help='checkpoint to write')
    help = 'config whose model the weights must fit; nothing is written if they do not'
    mxnet.add_input('--config', help=help)
    help = 'parts to convert, such as detector or temporal (default: all parts in the file)'
    mxnet.add_argument('--parts', nargs='+', metavar='PART', help=help)
    mxnet.add_argument(
        '--boxes',
        dest='form',
        choices=('copies', 'inference', 'training'),
        help='meaning of the box weights rfcn_bbox_* in the file: copies: weights of training, with those of inference '
        'as *_test; inference: weights of inference, already multiplied by the deviations; training: weights of '
        'training (default: copies if there is a *_test, else inference)',
    )
    help = 'prefixes of unknown parameter names to skip'
    mxnet.add_argument('--pass-over', nargs='+', default=[], metavar='NAME', help=help)
    help = 'parts of checkpoints, such as a detector and a flow network'
    join = kinds.add_parser('join', help=help)
    join.add_argument(
        '--part',
        action='append',
        required=True,
        type=part,
        metavar='NAME=FILE[:PREFIX]',
        help='module of the new checkpoint, file with its weights, and name of the module in that file, such as '
        'temporal=flow.pth:temporal; give the option once per part',
    )
    join.add_trust()
    join.add_output('--out', required=True, help='checkpoint to write')
    return parser.parse_args()


def part(text: str) -> tuple[str, str, str]:
    """Parse ``NAME=FILE`` or ``NAME=FILE:PREFIX``."""
    name, _, source = text.partition('=')
    checkpoint, _, prefix = source.partition(':')
    if not (name and checkpoint):
        raise argparse.ArgumentTypeError(f'{text!r}: expected NAME=FILE or NAME=FILE:PREFIX')
    return name, checkpoint, prefix


def main(args: argparse.Namespace) -> None:
    from semidff.converters.fit import join_checkpoints
    from semidff.converters.mxnet.checkpoint import convert_file

    options = vars(args)
    if options.pop('kind') == 'mxnet':
        print('\n'.join(convert_file(**options)))
    else:
        weights = join_checkpoints(args.part, args.out)
        print(f'{args.out}: {len(weights)} tensors from {len(args.part)} checkpoints')


if __name__ == '__main__':
    run_tool(main, parse_args())
