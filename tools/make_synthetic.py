"""Write the generated data set of the quick start, or its missing parts, into a folder."""

import argparse
import sys
from dataclasses import fields

from semidff.synthetic.build import build_dataset
from semidff.synthetic.presets import PRESETS, DatasetSpec, make_spec

HELP = {
    'seed': 'seed of the data set',
    'height': 'height of all frames',
    'width': 'width of all frames',
    'motion': 'factor on all movements of the videos',
    'stills': 'labeled pictures for stage one; 0 omits a part',
    'videos': 'unlabeled mp4 videos for stage two',
    'video_length': 'frames per unlabeled video',
    'train': 'labeled videos for supervised training',
    'train_length': 'frames per training video',
    'label_every': 'every n-th frame of a training video is labeled',
    'val': 'labeled videos for evaluation',
    'dev': 'labeled videos for choosing settings',
    'eval_length': 'frames per video of val and dev',
    'flow': 'pairs with true flow, in the format of Flying Chairs',
    'crops': 'classification crops, which replace ImageNet',
    'crop_size': 'side of the crops in pixels',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder of the data set')
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
        sys.exit(f'make_synthetic: {error}')
    for name, part in manifest['parts'].items():
        print(name, {key: value for key, value in part.items() if key != 'arguments'})


if __name__ == '__main__':
    main()
