"""Convert ImageNet VID, ImageNet DET (with VID's 30 classes) or Cityscapes to COCO-VID json.

For Cityscapes, label maps, a list of the snippets and links to their frames are written, too.
"""

import argparse

from semidff.utils.arguments import ToolParser, run_tool

IMAGE_SETS = {
    'imagenet-vid': 'videos or frames, such as VID_val_videos.txt, VID_train_15frames.txt or VID_val_frames.txt',
    'imagenet-det': 'images without suffix, such as DET_train_30classes.txt; further columns are ignored',
}


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    data_sets = parser.add_subparsers(dest='data_set', required=True)
    for name, listed in IMAGE_SETS.items():
        imagenet = data_sets.add_parser(name, help=f'annotations of {name}')
        help = f'folder Annotations/{name[-3:].upper()} of ILSVRC2015'
        imagenet.add_input('--ann-dir', required=True, help=help)
        imagenet.add_input('--image-set', required=True, help=f'list of {listed}')
        imagenet.add_output('--out', required=True, help='json file to write')
        imagenet.add_value('--workers', 4, 'processes')
        imagenet.add_value('--image-suffix', '.JPEG', 'suffix of the images')
        if name == 'imagenet-vid':
            help = (
                'number of evenly spaced frames to take of each video (default: all listed frames)'
            )
            imagenet.add_argument('--frames-per-video', type=int, help=help)
    cityscapes = data_sets.add_parser('cityscapes', help='Cityscapes and its video snippets')
    cityscapes.add_input('root', help='folder with leftImg8bit_sequence and gtFine, unpacked')
    cityscapes.add_argument('out', help='folder to write')
    cityscapes.add_argument(
        '--splits', nargs='+', default=['train', 'val'], choices=['train', 'val'], help='splits'
    )
    help = 'frames before the labeled one that the json lists; 9 are for l <= 10'
    cityscapes.add_argument('--frames-before', type=int, default=9, help=help)
    help = 'frames after the labeled one, for method centered'
    cityscapes.add_value('--frames-after', 0, help)
    cityscapes.add_value('--workers', 4, 'threads')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from semidff.converters.cityscapes import convert_cityscapes
    from semidff.converters.ilsvrc import convert_det, convert_vid

    options = vars(args)
    data_set = options.pop('data_set')
    if data_set != 'cityscapes':
        print((convert_vid if data_set == 'imagenet-vid' else convert_det)(**options))
        return
    for split in options.pop('splits'):
        done = convert_cityscapes(split=split, **options)
        print(f'{split}: {done["snippets"]} snippets, {done["images"]} frames -> {args.out}')


if __name__ == '__main__':
    run_tool(main, parse_args())
