"""Draw the propagation from a key frame to other frames of a video.

For each current frame: key frame, current frame with the student's and the teacher's detections, feature flow with
its color wheel, scale field, the features of the key frame, the propagated ones and the teacher's, and the errors.
"""

import argparse

from semidff.utils.arguments import add_device, detector_parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = detector_parser(__doc__)
    parser.add_input('video', help='video file or folder of frames')
    help = 'number of the key frame, from 0'
    parser.add_argument('--key', type=int, required=True, metavar='K', help=help)
    help = 'numbers of the current frames, before or after the key frame'
    parser.add_argument('--current', type=int, nargs='+', required=True, metavar='I', help=help)
    parser.add_output('--out', required=True, help='the picture (.png, .pdf, .svg)')
    parser.add_flag('--arrows', 'draw the feature flow with arrows')
    parser.add_value('--level', 0, 'level of the features; 0 is the finest')
    help = 'channel of the features that is drawn (default: the mean over channels)'
    parser.add_argument('--channel', type=int, metavar='C', help=help)
    parser.add_value('--score-thr', 0.3, 'detections with lower scores are not drawn')
    add_device(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from semidff.apis import VideoInferencer
    from semidff.utils.atomic_write import atomic_path
    from semidff.visualization.propagation import FigureStyle, draw_propagation, view_frames

    inferencer = VideoInferencer(args.config, args.checkpoint, args.device)
    model, pack = inferencer.model, inferencer.preprocess
    views = view_frames(model, pack, args.video, args.key, args.current, args.level)
    names = [(f'{args.key}', f'{i} ({i - args.key:+d})') for i in args.current]
    style = FigureStyle(
        model.dataset_meta['classes'], args.score_thr, arrows=args.arrows, channel=args.channel
    )
    with atomic_path(args.out) as path:
        draw_propagation(views, names, style).savefig(path)
    for (key, current), view in zip(names, views, strict=True):
        errors = [view.feature_error(f) for f in (view.key_features, view.propagated)]
        scaling = '-' if view.scale is None else f'{view.mean_scaling():.3f}'
        print(
            f'key frame {key}, current frame {current}: motion {view.mean_motion():.2f} pixels, |S - 1| {scaling}, '
            f'feature error {errors[0]:.1%} before the warp, {errors[1]:.1%} propagated'
        )
    print(f'Written: {args.out}')


if __name__ == '__main__':
    run_tool(main, parse_args())
