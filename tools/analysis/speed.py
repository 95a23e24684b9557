"""Measure the speed of one video detector, or of several detectors side by side.

With CONFIG [CHECKPOINT]: methods and sets of speed options, relative to the dense detector and to DFF Eq. 7. Without
CHECKPOINT the weights are random, so that post-processing takes longer than with trained ones; it also depends on the
frames: give a --video. With --row: any detectors, methods, key-frame intervals or adaptive schedules, and options.

Everything is measured in one process, interleaved clip by clip.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from semidff.utils.arguments import (
    PRECISIONS,
    SIZE,
    ToolParser,
    add_measuring_arguments,
    add_runtime,
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
    add_runtime(parser, 'torch', default=['torch'], nargs='+')
    help = 'also measure each precision with torch.compile; the warm-up takes minutes'
    parser.add_flag('--compile', help)
    parser.add_flag('--no-graphs', 'on a GPU: launch the operators of a frame one by one')
    parser.add_value('--key-interval', 10, 'key-frame interval', 'L')
    help = "resize frames to this size of the network's input (default: the config's test pipeline)"
    parser.add_argument('--shape', **SIZE, help=help)
    parser.add_argument(
        '--row',
        action='append',
        metavar='NAME=CONFIG,CHECKPOINT,METHOD,L[,OPTION=VALUE ...]',
        help='in place of CONFIG, several times: METHOD as in tools/test.py, L the key-frame interval; the first row '
        'with method frame and the same speed options, or else with method frame, is the reference of the speed-ups. '
        'Options: adaptive=FILE (of tools/analysis/fit_adaptive.py; L is the average interval, such as 6.5), '
        'scale=S (of the input size), precision, channels_last, compile, graphs, runtime, light_every=N, filter=causal '
        'or both',
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


def measure_one(args: argparse.Namespace, **options) -> dict:
    """Measure methods and options of one video detector."""
    import torch

    from semidff.analysis.speed_report import SpeedRow, measure_speed
    from semidff.inference import Acceleration
    from semidff.synthetic.smooth_video import write_smooth_video

    rows, graphs = [], False if args.no_graphs else None
    own = 'torch' in args.runtime
    speeds = [
        Acceleration(precision, args.channels_last, compiled, graphs)
        for precision, compiled in product(
            args.precision, sorted({False, args.compile}) if own else ()
        )
    ]
    others = (name for name in args.runtime if name != 'torch')
    speeds += [
        Acceleration(precision, args.channels_last, runtime=name)
        for name, precision in product(others, args.precision)
    ]
    for speed in dict.fromkeys(speeds):
        for method in dict.fromkeys(['frame', *args.methods]):
            run = args.config, args.checkpoint, method, args.key_interval
            rows.append(SpeedRow(f'{speed}: {method}', *run, **speed._asdict()))
    settings = dict(
        config=args.config,
        weights=args.checkpoint or 'random',
        video=args.video or 'smooth texture',
        shape=args.shape or "the config's",
        device=args.device,
        threads=torch.get_num_threads(),
    )
    with TemporaryDirectory() as folder:
        count = args.key_interval * (args.rounds + 1)
        video = args.video or write_smooth_video(
            Path(folder) / 'smooth.mp4', count, *(args.shape or DEFAULT_SHAPE)
        )
        report = measure_speed(rows, video=video, shape=args.shape, parts=True, **options)
        return settings | report


def main(args: argparse.Namespace) -> None:
    import semidff.registry  # noqa: F401 (registers the parts of configs)
    from semidff.analysis.speed_report import SpeedRow, measure_speed, speed_tables
    from semidff.utils.atomic_write import write_json
    from semidff.utils.tables import text_table

    options = dict(
        rounds=args.rounds,
        cfg_options=args.cfg_options,
        device=args.device,
        progress=partial(print, flush=True),
    )
    if args.row:
        rows = [SpeedRow.parse(text) for text in args.row]
        report = measure_speed(rows, video=args.video, shape=args.shape, **options)
    else:
        report = measure_one(args, **options)
    print('\n\n'.join(map(text_table, speed_tables(report))))
    if args.out:
        write_json(report, args.out, indent=2, nan_as_null=True)


if __name__ == '__main__':
    run_tool(main, parse_args())
