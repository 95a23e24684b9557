"""Evaluates a file of detections in ILSVRC's submission format by ImageNet VID's metric."""

import argparse

from semidff.evaluation import evaluate_detections_file
from semidff.evaluation.vid_metric import result_table


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--ann-file',
        required=True,
        help="COCO-VID json of the image set, or video_demo.py --json's of the full detector "
        '(--method frame), to be compared with where nothing is labeled',
    )
    parser.add_argument(
        '--detections',
        required=True,
        help='file with lines "frame_id class score x1 y1 x2 y2"; class k is the k-th category of '
        'the json, frame ids '
        "are the image set's (ilsvrc_id of the json), or 1, 2, 3, ... where the json has none",
    )
    parser.add_argument(
        '--out', required=True, help='json file to write, with mAP and AP of each class'
    )
    parser.add_argument(
        '--mean',
        choices=('imagenet', 'present'),
        default='imagenet',
        help='mAP is the mean over all classes, undefined if one without ground truth was detected '
        '(imagenet, the '
        'default), or over the classes with ground truth (present)',
    )
    parser.add_argument(
        '--min-score',
        type=float,
        default=0.5,
        metavar='S',
        help='where the json is one of detections: those with lower scores are no reference '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--coco',
        action='store_true',
        help="COCO's AP too, mean over IoU 0.5 to 0.95: it tells how tight boxes are",
    )
    return parser.parse_args()


def main() -> None:
    """Runs the evaluation."""
    try:
        done = evaluate_detections_file(**vars(parse_args()))
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from None
    summary = {key: float('nan') if v is None else v for key, v in done.summary.items()}
    print(result_table(done.result, summary))
    present = 100 * done.result.mean()
    print(f'mAP over the classes with ground truth: {present:.2f}')
    coco = {key.removeprefix('coco_'): v for key, v in summary.items() if key.startswith('coco_')}
    if coco:
        print("COCO's " + ', '.join(f'{name} {100 * value:.2f}' for name, value in coco.items()))
    print(
        f'{done.num_detections} detections, {done.num_outside} of them in no frame of the image set'
    )


if __name__ == '__main__':
    main()
