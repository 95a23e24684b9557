"""Convert ImageNet DET's XML annotations to a COCO json with the 30 classes of ImageNet VID."""

import argparse

from semidff.converters.ilsvrc.to_coco import convert_det


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--ann-dir', required=True, help='folder Annotations/DET of ILSVRC2015')
    parser.add_argument(
        '--image-set',
        required=True,
        help='list of images without suffix, such as DET_train_30classes.txt; further columns are '
        'ignored',
    )
    parser.add_argument('--out', required=True, help='json file to write')
    parser.add_argument('--workers', type=int, default=4, help='processes that read XML (4)')
    parser.add_argument('--image-suffix', default='.JPEG', help='suffix of the images (.JPEG)')
    return parser.parse_args()


def main() -> None:
    try:
        print(convert_det(**vars(parse_args())))
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
    main()
