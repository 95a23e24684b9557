"""Compare operating points of a video detector: accuracy and time of methods, key-frame intervals and input sizes.

The dense detector at smaller input sizes, track and interpolate are measured too, and the report says whether
propagation is worth it. Accuracy is that on the config's test data or on --labels. With --videos, which need no labels,
it is the agreement with the dense detector.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from semidff.utils.arguments import (
    ToolParser,
    add_measuring_arguments,
    add_runtime,
    run_tool,
)


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_input('config', help='config of a video detector or of a detector')
    parser.add_checkpoint('checkpoint', help='its weights')
    help = 'folder for points.md, points.json and points.png'
    parser.add_output('--out', required=True, metavar='DIR', help=help)
    data = parser.add_mutually_exclusive_group()
    help = 'unlabeled videos: files or folders of frames'
    data.add_argument('--videos', nargs='+', metavar='VIDEO', help=help)
    help = "COCO-VID json (default: the config's test data)"
    data.add_argument('--labels', metavar='FILE', help=help)
    help = 'images of --labels (default: its folder, or one beside it with its name)'
    parser.add_input('--images', '--image-root', metavar='DIR', help=help)
    parser.add_checkpoint(
        '--detector',
        metavar='FILE',
        help='weights of the detector before stage two, which may change its heads: for the dense detector and methods '
        'without training (default: those of the checkpoint)',
    )
    help = 'default: all that the model supports; adaptive needs --adaptive'
    parser.add_argument('--methods', nargs='+', metavar='METHOD', help=help)
    parser.add_value('--key-intervals', [2, 5, 10, 20], 'key-frame intervals', 'L')
    parser.add_value('--scales', [1.0, 0.75, 0.5], "input sizes relative to the config's", 'S')
    help = 'error predictor, made by tools/analysis/fit_adaptive.py'
    parser.add_input('--adaptive', metavar='FILE', help=help)
    help = 'distances between the light frames; other non-key frames are tracked'
    parser.add_value('--light-every', [1], help, 'N')
    help = 'filters of the results: none, causal, both'
    parser.add_value('--filters', ['none'], help, 'FILTER')
    parser.add_value('--phases', 1, 'average accuracy over N phases of the key frames', 'N')
    parser.add_value('--rounds', 5, 'rounds of the measurement of time')
    help = 'largest loss of the recommended points in AP and in AP_50'
    parser.add_value('--max-loss', 3.0, help, 'POINTS')
    parser.add_value('--min-score', 0.3, 'lowest score of a reference box, without labels', 'S')
    parser.add_value('--max-frames', 300, 'first frames of each of the --videos that are used', 'N')
    help = 'measure the streaming accuracy of the best causal points with a camera of FPS, in real time'
    parser.add_argument('--live-rate', type=float, metavar='FPS', help=help)
    add_runtime(parser, 'torch', default='torch')
    add_measuring_arguments(parser)
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
    from semidff.utils.image_detectors import read_model

    out, config = Path(args.out), read_model(args.config, args.cfg_options)
    has_temporal = bool(config.get('model', {}).get('temporal'))
    methods = args.methods or measured_methods(has_temporal, bool(args.adaptive))
    method = 'propagate' if has_temporal else 'frame'
    load = partial(load_model, config, device=args.device, runtime=args.runtime)
    model = load(args.checkpoint, method=method)
    detector = load(args.detector, method='frame') if args.detector else None
    filters = [None if name == 'none' else name for name in args.filters]
    labels, images = args.labels, args.images
    if not labels and not args.videos:
        labels, images = labels_of(config)
    report = measure_operating_points(
        model,
        args.videos or (),
        grid_of_points(methods, args.key_intervals, args.scales, args.light_every, filters),
        detector=detector,
        labels=labels,
        images=images,
        adaptive=args.adaptive,
        phases=args.phases,
        rounds=args.rounds,
        max_loss=args.max_loss / 100,
        min_score=args.min_score,
        max_frames=args.max_frames,
        live_rate=args.live_rate,
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
