"""Measure the speed of one video detector from decoding to boxes, or of several detectors side by side.

With CONFIG [CHECKPOINT]: methods and sets of speed options, relative to the dense detector and to DFF Eq. 7. Without
CHECKPOINT the weights are random, so that post-processing takes longer than with trained ones; it also depends on the
frames: give a --video. With --row: networks and post-processing of any detectors, methods and key-frame intervals.

Everything is measured in one process, interleaved clip by clip.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from semidff.utils.arguments import (
    PRECISIONS,
    SIZE,
    ToolParser,
    add_measuring_arguments,
    run_tool,
)

DEFAULT_SHAPE = (600, 1000)  # of the synthetic video


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_input('config', nargs='?', help='config of a video detector')
    parser.add_checkpoint('checkpoint', nargs='?', help='its weights (default: random ones)')
    methods = ['frame', 'propagate']
    parser.add_value('--methods', methods, 'methods; frame is always added', 'METHOD')
    parser.add_argument(
        '--precision', nargs='+', default=['fp32'], choices=PRECISIONS, help='precisions'
    )
    parser.add_flag('--channels-last', 'use channels-last maps in all measurements')
    help = 'also measure each precision with torch.compile; the warm-up takes minutes'
    parser.add_flag('--compile', help)
    parser.add_flag('--no-graphs', 'on a GPU: launch the operators of a frame one by one')
    parser.add_value('--key-interval', 10, 'key-frame interval', 'L')
    help = "resize frames to this size of the network's input (default: the config's test pipeline)"
    parser.add_argument('--shape', **SIZE, help=help)
    parser.add_argument(
        '--row',
        action='append',
        metavar='NAME=CONFIG,CHECKPOINT,METHOD,L',
        help='in place of CONFIG, several times: METHOD as in tools/test.py, L the key-frame interval; '
        'the first row with method frame is the reference of the speed-ups',
    )
    parser.add_value('--rounds', 5, 'rounds after the warm-up')
    parser.add_input(
        '--video',
        help="video file or folder of frames (default: a synthetic pan over a smooth texture; with --row the config's "
        'test data)',
    )
    parser.add_output('--out', metavar='FILE', help='write the figures as JSON')
    add_measuring_arguments(parser, 'every config')
    args = parser.parse_args()
    if bool(args.row) == bool(args.config):
        parser.error('give either CONFIG [CHECKPOINT] or --row NAME=CONFIG,CHECKPOINT,METHOD,L')
    return args


def measure_one(args: argparse.Namespace) -> dict:
    """Measure methods and options of one video detector."""
    import torch

    from semidff.analysis.speed import pack_with
    from semidff.analysis.speed_report import measure_methods
    from semidff.inference import Acceleration
    from semidff.inference.loading import frame_pipeline
    from semidff.synthetic.smooth_video import write_smooth_video
    from semidff.utils.checkpoint import load_for_test
    from semidff.utils.model_building import build_video_detector

    compiled = (False, True) if args.compile else (False,)
    graphs = False if args.no_graphs else None
    options = [
        Acceleration(p, args.channels_last, c, graphs) for p in args.precision for c in compiled
    ]
    model = build_video_detector(args.config, args.cfg_options)
    if args.checkpoint:
        load_for_test(model, args.checkpoint, needs_temporal=True)
    pack = pack_with(frame_pipeline(model.cfg, args.shape))
    settings = dict(
        config=args.config,
        weights=args.checkpoint or 'random',
        video=args.video or 'smooth texture',
        shape=args.shape or "the config's",
        device=args.device,
        threads=torch.get_num_threads(),
    )
    model, measured = model.to(args.device), (args.methods, options, args.key_interval, args.rounds)
    with TemporaryDirectory() as folder:
        count = args.key_interval * (args.rounds + 1)
        video = args.video or write_smooth_video(
            Path(folder) / 'smooth.mp4', count, *(args.shape or DEFAULT_SHAPE)
        )
        return settings | measure_methods(model, video, pack, *measured, progress=report_progress)


def report_progress(text: str) -> None:
    print(text, flush=True)


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.analysis.speed_report import SpeedRow, measure_rows, speed_tables
    from semidff.utils.atomic_write import write_json
    from semidff.utils.tables import text_table

    if args.row:
        rows = [SpeedRow.parse(text) for text in args.row]
        options = args.video, args.cfg_options, args.device, report_progress
        report = measure_rows(rows, args.rounds, *options)
    else:
        report = measure_one(args)
    print('\n\n'.join(map(text_table, speed_tables(report))))
    for name, row in report['rows'].items():
        if 'note' in row:
            print(f'{name}: {row["note"]}')
    if args.out:
        write_json(report, args.out, indent=2, nan_as_null=True)


if __name__ == '__main__':
    run_tool(main, parse_args())
