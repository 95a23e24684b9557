"""Writes the synthetic world of the quick start (or what is missing of it) into a folder."""

import argparse
import sys
from dataclasses import fields

from semidff.synthetic.build import build_dataset
from semidff.synthetic.presets import PRESETS, DatasetSpec, make_spec

HELP = {
    'seed': 'seed of the world',
    'height': 'height of all frames',
    'width': 'width of all frames',
    'motion': 'factor on all movements of the videos',
    'stills': 'labeled pictures for stage one; 0 leaves a part out',
    'videos': 'unlabeled mp4 videos for stage two',
    'video_length': 'frames of each of them',
    'train': 'labeled videos for supervised training',
    'train_length': 'frames of each of them',
    'label_every': 'one in so many of these frames is labeled',
    'val': 'labeled videos for evaluation',
    'dev': 'labeled videos for choosing settings',
    'eval_length': 'frames of each labeled video for evaluation or choice',
    'flow': 'pairs with true flow, in the format of Flying Chairs',
    'crops': 'classification crops (stand-in for ImageNet)',
    'crop_size': 'side of the crops',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder of the world')
    parser.add_argument(
        '--preset', default='quickstart', choices=PRESETS, help='sizes to start from'
    )
    parser.add_argument('--workers', type=int, default=2, help='processes (default: 2)')
    for field in fields(DatasetSpec):
        option = '--' + field.name.replace('_', '-')
        kind = type(field.default)
        parser.add_argument(
            option, type=kind, help=f'{HELP[field.name]} (quickstart: {field.default})'
        )
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    root, workers = args.pop('root'), args.pop('workers')
    try:
        manifest = build_dataset(root, make_spec(**args), workers)
    except (ValueError, OSError) as error:
        sys.exit(f'make_world: {error}')
    for name, part in manifest['parts'].items():
        print(name, {key: value for key, value in part.items() if key != 'arguments'})


if __name__ == '__main__':
    main()
