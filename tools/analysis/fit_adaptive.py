"""Fit an adaptive key-frame schedule to a video detector, on unlabeled videos.

Fits a predictor of the error of propagated features, given flow, scale field and images; the feature network gives the
true features. Then measures the average key-frame interval for each tolerated error. Use the file with
`tools/test.py --adaptive FILE --key-interval L` and `tools/video_demo.py --adaptive FILE --key-interval L`.
"""

import argparse
import sys

from semidff.apis import VideoInferencer
from semidff.datasets.video_list import VideoListError
from semidff.datasets.video_readers import Frame, VideoError
from semidff.inference.schedules.fit import Fit, fit_adaptive, unlabeled_videos
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.tables import text_table


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a video detector (stage two)')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('--out', required=True, metavar='FILE', help='JSON file to write')
    parser.add_argument(
        '--videos',
        metavar='LIST',
        help='text file with a video file, a folder of frames or a glob on each line (default: the '
        "unlabeled videos of the config's training)",
    )
    parser.add_argument(
        '--clips', type=int, default=60, metavar='N', help='number of clips (default: 60)'
    )
    parser.add_argument(
        '--clip-length',
        type=int,
        default=60,
        metavar='N',
        help='frames of a clip, fewer where videos are shorter; average intervals up to 0.4 N are calibrated '
        '(default: 60)',
    )
    parser.add_argument(
        '--max-interval',
        type=int,
        default=30,
        metavar='L',
        help='longest key-frame interval (default: 30)',
    )
    parser.add_argument('--device', help='where to run (default: a GPU, if there is one)')
    return parser.parse_args()


def report(fit: Fit) -> None:
    """Print the quality of the fit, and every third calibrated interval."""
    explained = '-' if fit.explained is None else f'{fit.explained:.3f}'
    low, middle, high = fit.errors
    print(
        f'{fit.pairs} pairs; relative feature error {middle:.2f} ({low:.2f} to {high:.2f}); '
        f'R2 of its logarithm on held-out clips: {explained}'
    )
    calibrated = zip(fit.predictor.intervals, fit.predictor.tolerances, strict=True)
    rows = [(f'{interval:.2f}', f'{tolerance:.3f}') for interval, tolerance in calibrated]
    print(text_table([('average interval', 'tolerated error'), *rows[::3]]))


def main() -> None:
    """Fit; bad input ends with a message and exit code 1."""
    args = parse_args()
    try:
        inferencer = VideoInferencer(args.config, args.checkpoint, args.device, show_progress=False)
        videos = unlabeled_videos(inferencer.model.cfg, args.videos)
        fit = fit_adaptive(
            inferencer.model,
            lambda image: inferencer.preprocess(Frame(image, 0, 0.0)),
            videos,
            args.clips,
            args.clip_length,
            args.max_interval,
        )
        fit.predictor.save(args.out)
    except (CheckpointError, VideoError, VideoListError, OSError, ValueError) as error:
        sys.exit(f'tools/analysis/fit_adaptive.py: {error}')
    report(fit)
    print(f'Written: {args.out}')


if __name__ == '__main__':
    main()
