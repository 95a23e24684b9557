"""Tests a detector on videos: walks each of them frame by frame with a key frame every l frames."""

import argparse
import os
import sys

from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config, DictAction
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from semidff.engine.checkpoint import CheckpointError, load_for_test
from semidff.engine.launch import adapt_to_machine
from semidff.engine.metrics_file import write_metrics
from semidff.engine.test_options import OptionError, apply_test_options
from semidff.inference import METHODS, MethodError


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_test_arguments(parser)
    add_output_arguments(parser)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config, for example test_cfg.fp16=True',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were started (torchrun: pytorch)',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


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
        choices=list(METHODS),
        help='propagate: features carried by the temporal module; frame: detector on every frame; '
        "copy: key frame's boxes repeated; coast: boxes carried on by a causal tracker; "
        "interpolate: boxes between key frames interpolated, offline (default: the config's)",
    )
    parser.add_argument(
        '--key-interval',
        type=int,
        metavar='L',
        help="a key frame every L frames (default: the config's)",
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
    parser.add_argument('--work-dir', help='folder for logs (default: work_dirs/CONFIG NAME)')


def main() -> None:
    """Runs the test; bad checkpoints and options end it with a message and exit code 1."""
    args = parse_args()
    setup_cache_size_limit_of_dynamo()
    try:
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options or {})
        adapt_to_machine(cfg, args.launcher)
        name = os.path.splitext(os.path.basename(args.config))[0]
        cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', name)
        method = apply_test_options(cfg, args)
        runner = Runner.from_cfg(cfg)
        load_for_test(runner.model, args.checkpoint, method)
        metrics = runner.test()
    except (CheckpointError, MethodError, OptionError) as error:
        sys.exit(f'tools/test.py: {error}')
    if args.metrics_out and is_main_process():
        write_metrics(metrics, args.metrics_out)


if __name__ == '__main__':
    main()
