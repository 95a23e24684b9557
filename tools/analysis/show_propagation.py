"""Draws what the temporal module does between a key frame and other frames of a video.

For each current frame: both frames with boxes, feature flow with its color wheel, scale field, features
before and after warp and scale beside those of the feature network on the frame itself, and their error.
"""

import argparse
import sys

from semidff.apis import VideoInferencer
from semidff.datasets.video_readers import VideoError
from semidff.utils.checkpoint import CheckpointError
from semidff.visualization.propagation_figure import Look, save_propagation
from semidff.visualization.view_frames import view_frames


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a video detector (stage two)')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('video', help='video file or folder of frames')
    parser.add_argument(
        '--key', type=int, required=True, metavar='K', help='number of the key frame, from 0'
    )
    parser.add_argument(
        '--current',
        type=int,
        nargs='+',
        required=True,
        metavar='I',
        help='numbers of the frames that it is propagated to, before or after it',
    )
    parser.add_argument(
        '--out', required=True, metavar='FILE', help='the picture (.png, .pdf, .svg)'
    )
    parser.add_argument(
        '--arrows', action='store_true', help='arrows on the feature flow, beside its colors'
    )
    parser.add_argument(
        '--level',
        type=int,
        default=0,
        metavar='N',
        help='level of the features, where there are several; 0 is the finest (default: 0)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='boxes with lower scores are not drawn (default: 0.3)',
    )
    parser.add_argument('--device', help='where to run (default: a GPU, if there is one)')
    return parser.parse_args()


def main() -> None:
    """Draws; bad input ends with a message and exit code 1."""
    args = parse_args()
    try:
        inferencer = VideoInferencer(args.config, args.checkpoint, args.device)
        views = view_frames(inferencer, args.video, args.key, args.current, args.level)
        names = [(f'{args.key}', f'{i} ({i - args.key:+d})') for i in args.current]
        look = Look(inferencer.model.dataset_meta['classes'], args.score_thr, arrows=args.arrows)
        save_propagation(views, names, args.out, look)
    except (CheckpointError, VideoError, OSError, ValueError) as error:
        sys.exit(f'tools/analysis/show_propagation.py: {error}')
    for (key, current), view in zip(names, views, strict=True):
        errors = [view.feature_error(f) for f in (view.key_features, view.propagated)]
        scaling = '-' if view.scale is None else f'{view.mean_scaling():.3f}'
        print(
            f'key frame {key}, current frame {current}: motion {view.mean_motion():.2f} pixels, |S - 1| {scaling}, '
            f'feature error {errors[0]:.1%} unmoved, {errors[1]:.1%} propagated'
        )
    print(f'Written: {args.out}')


if __name__ == '__main__':
    main()
