"""Command-line arguments and process setup that training and testing share."""

import argparse
import atexit
import gc
import os
from pathlib import Path

import torch
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config, DictAction

from semidff.utils.allocator import keep_freed_memory
from semidff.utils.model_building import read_config


class OptionError(ValueError):
    """A command-line option that is wrong, or that the config does not support."""


def add_launch_arguments(parser: argparse.ArgumentParser, example: str) -> None:
    """Add the options of every tool that runs a config.

    Args:
        parser: The tool's parser.
        example: A setting for the help of ``--cfg-options``.
    """
    parser.add_argument(
        '--work-dir', help='folder for logs and results (default: work_dirs/CONFIG NAME)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help=f'settings that replace those of the config, for example {example}',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started (torchrun: pytorch)',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )


def prepare_run(args: argparse.Namespace) -> Config:
    """Set up the process and return the config with the settings of the command line.

    Args:
        args: ``config`` and the arguments of :func:`add_launch_arguments`.

    Raises:
        ConfigError: If there is no such config.
    """
    keep_freed_memory()
    setup_cache_size_limit_of_dynamo()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    adapt_to_machine(cfg, args.launcher)
    default = Path('work_dirs') / Path(args.config).stem
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(default)
    return cfg


def adapt_to_machine(cfg: Config, launcher: str) -> None:
    """Set the launcher, and gloo as the backend of distributed runs on machines without a GPU.

    Args:
        cfg: The config, changed in place.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    atexit.register(_leave_group)
    if torch.cuda.is_available():
        return
    cfg.env_cfg = dict(cfg.get('env_cfg', {}), dist_cfg=dict(backend='gloo'))
    started = torch.distributed.is_initialized()
    if launcher == 'pytorch' and 'RANK' in os.environ and not started:
        # mmengine would select a CUDA device before it starts the group; it leaves an existing group alone.
        torch.distributed.init_process_group('gloo')


def _leave_group() -> None:
    """End the process group: its threads may abort a process that exits before them.

    They end with the last reference to the group, and models wrapped for it refer to it in cycles.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()
