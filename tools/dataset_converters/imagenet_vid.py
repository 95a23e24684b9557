"""Convert ImageNet VID's XML annotations to a COCO-VID json."""

import argparse

from semidff.converters.ilsvrc.to_coco import convert_vid


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--ann-dir', required=True, help='folder Annotations/VID of ILSVRC2015')
    parser.add_argument(
        '--image-set',
        required=True,
        help='list of videos or frames, such as VID_val_videos.txt, VID_train_15frames.txt or '
        'VID_val_frames.txt',
    )
    parser.add_argument('--out', required=True, help='json file to write')
    parser.add_argument('--workers', type=int, default=4, help='processes that read XML (4)')
    parser.add_argument(
        '--frames-per-video',
        type=int,
        help='number of evenly spaced frames to take of each video (default: all listed frames)',
    )
    parser.add_argument('--image-suffix', default='.JPEG', help='suffix of the images (.JPEG)')
    args = parser.parse_args()
    if args.frames_per_video is not None and args.frames_per_video < 1:
        parser.error(f'--frames-per-video must be at least 1, got {args.frames_per_video}')
    return args


def main() -> None:
    try:
        print(convert_vid(**vars(parse_args())))
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
    main()
