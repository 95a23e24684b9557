"""Evaluate a file of detections in ILSVRC's submission format with the ImageNet VID metric."""

import argparse

from semidff.utils.arguments import ToolParser, run_tool


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_input(
        '--ann-file',
        required=True,
        help='COCO-VID JSON file of the image set; without labels, detections of video_demo.py --method frame --json '
        'as a reference',
    )
    parser.add_input(
        '--detections',
        required=True,
        help='file with lines "frame_id class score x1 y1 x2 y2"; class k is the k-th of --classes, '
        'frame_id is its ilsvrc_id, or 1, 2, 3, ... where it has none',
    )
    parser.add_output('--out', required=True, help='JSON file: mAP, and AP of each class')
    parser.add_argument(
        '--mean',
        choices=('imagenet', 'present'),
        default='imagenet',
        help='mAP is the mean over all classes, undefined if a class without ground truth was detected (imagenet), '
        'or over the classes with ground truth (present)',
    )
    help = 'ignore annotations with lower scores, where the reference is a file of detections'
    parser.add_value('--min-score', 0.5, help, 'S')
    parser.add_argument(
        '--classes',
        nargs='+',
        help='class names of the detector, in order; --ann-file may have some of them only (default: the categories of '
        '--ann-file)',
    )
    parser.add_flag('--coco', "also compute COCO's AP over IoU 0.5 to 0.95")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (without messages of mmdet)
    from semidff.evaluation import evaluate_detections_file
    from semidff.evaluation.vid_metric import result_table

    done = evaluate_detections_file(**vars(args))
    summary = {key: float('nan') if v is None else v for key, v in done.summary.items()}
    print(result_table(done.result, summary))
    print(f'mAP over the classes with ground truth: {100 * done.result.mean():.2f}')
    coco = {key.removeprefix('coco_'): v for key, v in summary.items() if key.startswith('coco_')}
    if coco:
        print("COCO's " + ', '.join(f'{name} {100 * value:.2f}' for name, value in coco.items()))
    print(f'{done.num_detections} detections, {done.num_outside} of them outside the image set')


if __name__ == '__main__':
    run_tool(main, parse_args())
