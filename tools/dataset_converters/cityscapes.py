"""Prepare Cityscapes and its video snippets: label maps, COCO-VID json, list of snippets, links to the frames."""

import argparse

from semidff.converters.cityscapes import convert_cityscapes
from semidff.utils.arguments import ToolParser, run_tool
from semidff.utils.tool_files import InputFile, OutputFolder


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument(
        'root', type=InputFile, help='folder with leftImg8bit_sequence and gtFine, unpacked'
    )
    parser.add_argument('out', type=OutputFolder, help='folder to write')
    parser.add_argument(
        '--splits', nargs='+', default=['train', 'val'], choices=['train', 'val'], help='splits'
    )
    parser.add_argument(
        '--frames-before',
        type=int,
        default=9,
        help='frames before the labeled one that the json lists (default: 9, for l <= 10)',
    )
    parser.add_argument(
        '--frames-after',
        type=int,
        default=0,
        help='frames after the labeled one, for method centered (default: 0)',
    )
    parser.add_argument('--workers', type=int, default=4, help='threads (default: 4)')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    for split in args.splits:
        frames = args.frames_before, args.frames_after
        done = convert_cityscapes(args.root, args.out, split, *frames, args.workers)
        print(f'{split}: {done["snippets"]} snippets, {done["images"]} frames -> {args.out}')


if __name__ == '__main__':
    run_tool(main, parse_args())
