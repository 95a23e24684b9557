"""Measures the speed of a video detector and of its parts, and the bound that DFF's Eq. 7 sets.

Without CHECKPOINT the weights are random. That does not change the time of the networks, but that
of the post-processing: an untrained R-FCN lets every class of every RoI pass the score threshold,
the worst case for non-maximum suppression. The frames matter in the same way: give a --video.
"""

import argparse
import sys

import torch
from mmengine.config import DictAction

from semidff.datasets.video_readers import VideoError
from semidff.engine.build import build_video_detector
from semidff.engine.checkpoint import CheckpointError, load_for_test
from semidff.engine.metrics_file import write_metrics
from semidff.inference.benchmark import measure_speed, smooth_frames, video_frames
from semidff.models import VideoDetector


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a video detector (stage two)')
    parser.add_argument('checkpoint', nargs='?', help='its weights (default: random ones)')
    parser.add_argument(
        '--key-interval',
        type=int,
        default=10,
        metavar='L',
        help='a key frame every L frames (default: 10)',
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=(600, 1000),
        metavar=('H', 'W'),
        help="size of the network's input, frames are stretched to it (default: 600 1000)",
    )
    parser.add_argument(
        '--repeats',
        type=int,
        default=5,
        metavar='N',
        help='clips of L frames that count, after one to warm up (default: 5)',
    )
    parser.add_argument(
        '--video',
        help='video file or folder of frames (default: a pan over a smooth texture)',
    )
    parser.add_argument('--threads', type=int, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument(
        '--amp', action='store_true', help='autocast: float16 on GPUs, bfloat16 on CPUs'
    )
    parser.add_argument(
        '--channels-last', action='store_true', help='weights in channels-last order'
    )
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='where to run (default: cuda where there is a GPU)',
    )
    parser.add_argument('--out', metavar='FILE', help='write the figures as json')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config',
    )
    return parser.parse_args()


def load_model(args: argparse.Namespace) -> VideoDetector:
    """Builds the config's model."""
    model = build_video_detector(args.config, args.cfg_options)
    if args.checkpoint:
        load_for_test(model, args.checkpoint, 'propagate')
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    return model.to(args.device, memory_format=layout)


def main() -> None:
    """Measures and reports."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        model = load_model(args)
        count = args.key_interval * (args.repeats + 1)
        frames = (
            video_frames(args.video, count, *args.shape)
            if args.video
            else smooth_frames(count, *args.shape)
        )
        report = measure_speed(
            model, frames, args.key_interval, args.repeats, args.amp, progress=print
        )
    except (CheckpointError, VideoError, ValueError) as error:
        sys.exit(f'tools/analysis/benchmark_speed.py: {error}')
    setting = dict(
        config=args.config,
        weights=args.checkpoint or 'random',
        frames=args.video or 'smooth texture',
        height=args.shape[0],
        width=args.shape[1],
        device=args.device,
        threads=torch.get_num_threads(),
        amp=args.amp,
        channels_last=args.channels_last,
    )
    print('\n'.join(f'{name:14}{value}' for name, value in setting.items()))
    print(report)
    if args.out:
        write_metrics({**setting, **report.to_dict()}, args.out)


if __name__ == '__main__':
    main()
