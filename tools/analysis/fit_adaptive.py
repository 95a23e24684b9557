"""Fit an adaptive key-frame schedule to a video detector, on unlabeled videos.

Fits a predictor of the error of propagated features, given flow, scale field and images; the feature network gives the
true features. Then measures the average key-frame interval for each tolerated error. Use the file with
`tools/test.py --adaptive FILE --key-interval L` and `tools/video_demo.py --adaptive FILE --key-interval L`.
"""

import argparse

from semidff.utils.arguments import add_device, detector_parser, run_tool


def parse_args() -> argparse.Namespace:
    parser = detector_parser(__doc__)
    parser.add_output('--out', required=True, metavar='FILE', help='JSON file to write')
    parser.add_input(
        '--videos',
        metavar='LIST',
        help='text file with a video file, a folder of frames or a glob on each line (default: the '
        "unlabeled videos of the config's training)",
    )
    parser.add_value('--clips', 60, 'number of clips')
    help = 'frames of a clip, fewer where videos are shorter; average intervals up to 0.4 N are calibrated'
    parser.add_value('--clip-length', 60, help, 'N')
    parser.add_value('--max-interval', 30, 'longest key-frame interval', 'L')
    add_device(parser)
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from semidff.apis import VideoInferencer
    from semidff.datasets.video_readers import Frame
    from semidff.inference.schedule_fit import fit_adaptive, unlabeled_videos
    from semidff.utils.tables import text_table

    inferencer = VideoInferencer(args.config, args.checkpoint, args.device, show_progress=False)
    fit = fit_adaptive(
        inferencer.model,
        lambda image: inferencer.preprocess(Frame(image, 0, 0.0)),
        unlabeled_videos(inferencer.model.cfg, args.videos),
        args.clips,
        args.clip_length,
        args.max_interval,
    )
    fit.predictor.save(args.out)
    explained = '-' if fit.explained is None else f'{fit.explained:.3f}'
    low, middle, high = fit.errors
    print(
        f'{fit.pairs} pairs; relative feature error {middle:.2f} ({low:.2f} to {high:.2f}); '
        f'R2 of its logarithm on held-out clips: {explained}'
    )
    calibrated = zip(fit.predictor.intervals, fit.predictor.tolerances, strict=True)
    rows = [(f'{interval:.2f}', f'{tolerance:.3f}') for interval, tolerance in calibrated]
    print(text_table([('average interval', 'tolerated error'), *rows[::3]]))
    print(f'Written: {args.out}')


if __name__ == '__main__':
    run_tool(main, parse_args())
