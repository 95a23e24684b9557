"""Write the generated data set of the quick start, or its missing parts, into a folder."""

import argparse
import sys
from dataclasses import fields

from semidff.synthetic.build import build_dataset
from semidff.synthetic.presets import PRESETS, DatasetSpec, make_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder of the data set')
    parser.add_argument(
        '--preset', default='quickstart', choices=PRESETS, help='sizes to start from'
    )
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    for field in fields(DatasetSpec):
        parser.add_argument(
            '--' + field.name.replace('_', '-'),
            type=type(field.default),
            help=f'{field.metadata["help"]} (quickstart: {field.default})',
        )
    args = vars(parser.parse_args())
    root, workers = args.pop('root'), args.pop('workers')
    try:
        manifest = build_dataset(root, make_spec(**args), workers)
    except (ValueError, OSError) as error:
        sys.exit(f'make_synthetic: {error}')
    for name, part in manifest['parts'].items():
        print(name, {key: value for key, value in part.items() if key != 'arguments'})


if __name__ == '__main__':
    main()
