"""Trains a model: stage one, stage two, or flow pre-training, as the config says."""

import argparse
import sys

from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.runner import Runner

from semidff.datasets.video_list import VideoListError
from semidff.engine import NonFiniteLossError
from semidff.engine.launch import add_launch_arguments, load_config
from semidff.engine.optimizers.switches import adapt_optimizers
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.checkpoint import CheckpointError


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config file, for example configs/quickstart/rfcn_synthetic.py'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue: from CHECKPOINT, or from the latest one in the work dir, if there is any',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--accumulate', type=int, metavar='N', help='add up the gradients of N iterations'
    )
    parser.add_argument('--seed', type=int, help="random seed (default: the config's)")
    add_launch_arguments(parser, 'train_cfg.max_iters=100')
    return parser.parse_args()


def main() -> None:
    """Runs the training; bad checkpoints, videos and losses end it with a message and exit code 1."""
    args = parse_args()
    keep_freed_memory()
    setup_cache_size_limit_of_dynamo()
    cfg = load_config(args)
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness', {}), seed=args.seed)
    adapt_optimizers(cfg, args.amp, args.accumulate)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    try:
        Runner.from_cfg(cfg).train()
    except (CheckpointError, NonFiniteLossError, VideoListError) as error:
        sys.exit(f'tools/train.py: {error}')


if __name__ == '__main__':
    main()
