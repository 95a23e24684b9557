"""Measure the speed of a video detector from decoding to boxes, relative to the dense detector and to DFF Eq. 7.

All methods and all sets of speed options are measured in one run, interleaved clip by clip. Without CHECKPOINT the
weights are random. This does not change the time of the networks, but that of post-processing: with an untrained R-FCN
every class of every RoI passes the score threshold, the worst case for non-maximum suppression. Post-processing also
depends on the frames: give a --video.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.dataset import pseudo_collate

from semidff.analysis.benchmark import benchmark
from semidff.analysis.smooth_video import write_smooth_video
from semidff.analysis.speed_report import SpeedReport
from semidff.inference import Acceleration
from semidff.inference.acceleration import PRECISIONS
from semidff.inference.frame_pipeline import frame_pipeline
from semidff.inference.methods import METHODS
from semidff.utils.arguments import (
    SIZE,
    ToolParser,
    add_model_arguments,
    add_timing_arguments,
    prepare_timing,
    run_tool,
)
from semidff.utils.atomic_write import atomic_write, write_json
from semidff.utils.checkpoint import load_for_test
from semidff.utils.model_building import build_video_detector
from semidff.utils.tool_files import CheckpointFile, InputFile, OutputFile, ReportFile

DEFAULT_SHAPE = (600, 1000)  # of the synthetic video


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__)
    parser.add_argument('config', type=InputFile, help='config of a video detector (stage two)')
    parser.add_argument(
        'checkpoint', type=CheckpointFile, nargs='?', help='its weights (default: random ones)'
    )
    parser.add_argument(
        '--methods',
        nargs='+',
        default=['frame', 'propagate'],
        choices=list(METHODS.module_dict),
        help='methods to measure; frame is always added (default: frame propagate)',
    )
    parser.add_argument(
        '--precision',
        nargs='+',
        default=['fp32'],
        choices=list(PRECISIONS),
        help='precisions to measure (default: fp32)',
    )
    parser.add_argument(
        '--channels-last', action='store_true', help='use channels-last maps in all measurements'
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='also measure each precision with torch.compile; the warm-up takes minutes',
    )
    parser.add_number('--key-interval', 10, 'key-frame interval', metavar='L')
    parser.add_argument(
        '--shape',
        **SIZE,
        help="resize frames to this size of the network's input (default: the config's test pipeline)",
    )
    parser.add_number('--repeats', 3, 'clips of L frames after one of warm-up')
    add_timing_arguments(parser, 'a synthetic pan over a smooth texture')
    parser.add_argument('--out', type=ReportFile, metavar='FILE', help='write the figures as JSON')
    parser.add_argument(
        '--markdown', type=OutputFile, metavar='FILE', help='write the tables in Markdown'
    )
    add_model_arguments(parser)
    return parser.parse_args()


def measure(args: argparse.Namespace, folder: str) -> SpeedReport:
    """Run the benchmark; ``folder`` is for the synthetic video."""
    compiled = (False, True) if args.compile else (False,)
    options = [Acceleration(p, args.channels_last, c) for p in args.precision for c in compiled]
    model = build_video_detector(args.config, args.cfg_options)
    if args.checkpoint:
        load_for_test(model, args.checkpoint, needs_temporal=True)
    pipeline = frame_pipeline(model.cfg, args.shape)
    count = args.key_interval * (args.repeats + 1)
    video = args.video or write_smooth_video(
        Path(folder) / 'smooth.mp4', count, *(args.shape or DEFAULT_SHAPE)
    )
    return benchmark(
        model.to(args.device),
        video,
        lambda image: pseudo_collate([pipeline(dict(img=image))]),
        args.methods,
        options,
        args.key_interval,
        args.repeats,
        progress=lambda text: print(text, flush=True),
    )


def main(args: argparse.Namespace) -> None:
    prepare_timing(args)
    with TemporaryDirectory() as folder:
        report = measure(args, folder)
    setting = dict(
        config=args.config,
        weights=args.checkpoint or 'random',
        video=args.video or 'smooth texture',
        shape=args.shape or "the config's",
        device=args.device,
        threads=torch.get_num_threads(),
        key_interval=args.key_interval,
        clips=args.repeats,
    )
    print('\n'.join(f'{name:14}{value}' for name, value in setting.items()), end='\n\n')
    print(report.text())
    if args.out:
        write_json({**setting, **report.to_dict()}, args.out, indent=2, nan_as_null=True)
    if args.markdown:
        with atomic_write(args.markdown) as file:
            file.write(report.markdown())


if __name__ == '__main__':
    run_tool(main, parse_args())
