"""Compare operating points of a video detector: accuracy and time of methods, key-frame intervals and input sizes.

The dense detector at smaller input sizes, coast and interpolate are measured too, and the report says whether
propagation is worth it. Accuracy is that on the config's test data or on --labels. With --videos, which need no labels,
it is the agreement with the dense detector.
"""

import argparse
import sys
from pathlib import Path

from semidff.utils.arguments import (
    ToolParser,
    add_key_intervals,
    add_model_arguments,
    finite,
    prepare_timing,
    run_tool,
)


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_input('config', help='config of a video detector or of a detector')
    parser.add_checkpoint('checkpoint', help='its weights')
    parser.add_output('--out', required=True, metavar='DIR',
                        help='folder for points.md, points.json and points.png')  # fmt: skip
    data = parser.add_mutually_exclusive_group()
    data.add_argument('--videos', nargs='+', metavar='VIDEO',
                      help='unlabeled videos: files or folders of frames')  # fmt: skip
    data.add_argument('--labels', metavar='FILE',
                      help="COCO-VID json (default: the config's test data)")  # fmt: skip
    parser.add_input('--images', metavar='DIR',
                        help='images of --labels (default: its folder, or one beside it with its name)')  # fmt: skip
    parser.add_checkpoint('--detector', metavar='FILE',
                        help='weights of the detector before stage two, which may change its heads: for the dense '
                        'detector and methods without training (default: those of the checkpoint)')  # fmt: skip
    parser.add_argument('--methods', nargs='+', metavar='METHOD',
                        help='default: all that the model supports; adaptive needs --adaptive')  # fmt: skip
    add_key_intervals(parser, [2, 5, 10, 20], 'key-frame intervals')
    parser.add_argument('--scales', type=finite, nargs='+', default=(1.0, 0.75, 0.5), metavar='S',
                        help="input sizes relative to the config's (default: 1 0.75 0.5)")  # fmt: skip
    parser.add_input('--adaptive', metavar='FILE',
                        help='error predictor, made by tools/analysis/fit_adaptive.py')  # fmt: skip
    parser.add_argument('--smooth-scores', type=int, nargs='+', default=(0,), metavar='N',
                        help='average the scores of an object over N frames (default: 0, not)')  # fmt: skip
    parser.add_number('--places', 1, 'average accuracy over N positions of the key frames')
    parser.add_number('--rounds', 5, 'rounds of the measurement of time')
    parser.add_argument('--max-loss', type=finite, metavar='POINTS',
                        help='largest loss of the recommended point (default: 3, without labels 10)')  # fmt: skip
    parser.add_argument('--min-score', type=finite, default=0.3, metavar='S',
                        help='lowest score of a reference box, without labels (default: %(default)s)')  # fmt: skip
    parser.add_number('--max-frames', 300, 'first frames of each of the --videos that are used')
    parser.add_argument('--threads', type=int, help="CPU threads (default: PyTorch's choice)")
    add_model_arguments(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.analysis.evaluation_clips import labels_of
    from semidff.analysis.operating_points import (
        grid_of_points,
        measure_operating_points,
        measured_methods,
    )
    from semidff.analysis.operating_report import plot_points, points_table
    from semidff.inference.loading import load_model
    from semidff.utils.atomic_write import atomic_write, write_json
    from semidff.utils.model_building import read_config

    prepare_timing(args)
    out = Path(args.out)
    config = read_config(args.config, args.cfg_options)
    has_temporal = bool(config.get('model', {}).get('temporal'))
    methods = args.methods or measured_methods(has_temporal, bool(args.adaptive))
    model = load_model(
        config, args.checkpoint, args.device, 'propagate' if has_temporal else 'frame'
    )
    detector = None
    if args.detector:
        detector = load_model(config, args.detector, args.device, 'frame')
    labels, images = args.labels, args.images
    if not labels and not args.videos:
        labels, images = labels_of(config)
    report = measure_operating_points(
        model,
        args.videos or (),
        grid_of_points(methods, args.key_intervals, args.scales, args.smooth_scores),
        detector=detector,
        labels=labels,
        images=images,
        adaptive=args.adaptive,
        places=args.places,
        rounds=args.rounds,
        max_loss=None if args.max_loss is None else args.max_loss / 100,
        min_score=args.min_score,
        max_frames=args.max_frames,
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )
    write_json(report, out / 'points.json', indent=2, nan_as_null=True)
    with atomic_write(out / 'points.md') as file:
        file.write(points_table(report))
    plot_points(report, out / 'points.png')
    print(points_table(report))
    print(f'Written to {out}: points.md, points.json, points.png')


if __name__ == '__main__':
    run_tool(main, parse_args())
