"""Tests a detector on videos, frame by frame: a key frame every l frames, or by another schedule.

Other models, flow pre-training's for one, are tested as their config says (test_cfg.type: TestLoop).
"""

import argparse
import sys

from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from semidff.engine.launch import add_launch_arguments, load_config
from semidff.engine.loops.video_test_loop import PROTOCOLS
from semidff.engine.test_options import OptionError, apply_test_options
from semidff.inference import MethodError, ScheduleError
from semidff.inference.methods import METHODS, method_class, renamed_method
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.atomic_write import write_json
from semidff.utils.checkpoint import CheckpointError, load_for_test


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_test_arguments(parser)
    add_output_arguments(parser)
    add_launch_arguments(parser, 'test_cfg.fp16=True')
    return parser.parse_args()


def add_test_arguments(parser: argparse.ArgumentParser) -> None:
    """What is tested, and how."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        help='weights: of the whole video detector for propagate; for the other methods also those '
        'of a stage-one detector',
    )
    parser.add_argument(
        '--method',
        type=renamed_method,
        choices=list(METHODS.module_dict),
        help='propagate: features carried by the temporal module; frame: detector on every frame; '
        "copy: key frame's boxes repeated; coast: boxes carried on by a causal tracker; "
        'interpolate: boxes between key frames interpolated, offline; centered: as propagate, from '
        'the nearer key frame before or after, offline; sff-fast, sff-slow: features carried by '
        "OpenCV's optical flow (default: the config's)",
    )
    parser.add_argument(
        '--key-interval',
        type=int,
        metavar='L',
        help="a key frame every L frames, or with --adaptive on average (default: the config's)",
    )
    parser.add_argument(
        '--adaptive',
        metavar='FILE',
        help='key frames where propagation is about to fail, as tools/analysis/fit_adaptive.py has '
        'fitted it; for methods that propagate',
    )
    parser.add_argument(
        '--scene-cuts',
        action='store_const',
        const=True,
        help='a key frame at each scene cut, too',
    )
    parser.add_argument(
        '--protocol',
        choices=list(PROTOCOLS),
        help='dense: every frame at its place in the schedule; pairs: every labeled frame at each '
        "distance 0 ... L-1 from its key frame (DFF 5.2) (default: the config's, else dense)",
    )


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Where results go."""
    parser.add_argument(
        '--detections',
        metavar='FILE',
        help='also write all detections in the ILSVRC format (frame_id class score x1 y1 x2 y2)',
    )
    parser.add_argument('--metrics-out', metavar='FILE', help='write the metrics as json')
    parser.add_argument(
        '--render', metavar='DIR', help='write an mp4 with the results of each video'
    )
    parser.add_argument(
        '--render-videos',
        type=int,
        metavar='N',
        help='render the first N videos only (of each process)',
    )
    parser.add_argument(
        '--render-fps',
        type=float,
        default=10,
        help='frames per second of the mp4 files (default: 10)',
    )


def main() -> None:
    """Runs the test; bad checkpoints and options end it with a message and exit code 1."""
    args = parse_args()
    keep_freed_memory()
    setup_cache_size_limit_of_dynamo()
    try:
        cfg = load_config(args)
        method = apply_test_options(cfg, args)
        runner = Runner.from_cfg(cfg)
        needs_temporal = None if method is None else method_class(method).uses_temporal
        load_for_test(runner.model, args.checkpoint, needs_temporal)
        metrics = runner.test()
    except (CheckpointError, MethodError, OptionError, ScheduleError) as error:
        sys.exit(f'tools/test.py: {error}')
    if args.metrics_out and is_main_process():
        write_json(metrics, args.metrics_out, indent=2, nan_as_null=True)


if __name__ == '__main__':
    main()
