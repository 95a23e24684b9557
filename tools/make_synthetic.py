"""Write the generated data set of the quick start, or its missing parts, into a folder."""

import argparse
from dataclasses import fields

from semidff.synthetic.presets import PRESETS, DatasetSpec, make_spec
from semidff.utils.arguments import ToolParser, run_tool


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument('root', help='folder of the data set')
    parser.add_argument('--preset', default='quickstart', choices=PRESETS, help='initial sizes')
    parser.add_value('--workers', 2, 'processes')
    for field in fields(DatasetSpec):
        parser.add_argument(
            '--' + field.name.replace('_', '-'),
            type=type(field.default),
            help=f'{field.metadata["help"]} (quickstart: {field.default})',
        )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from semidff.synthetic.build import build_dataset

    options = vars(args)
    root, workers = options.pop('root'), options.pop('workers')
    manifest = build_dataset(root, make_spec(**options), workers)
    for name, part in manifest['parts'].items():
        print(name, {key: value for key, value in part.items() if key != 'arguments'})


if __name__ == '__main__':
    run_tool(main, parse_args())
