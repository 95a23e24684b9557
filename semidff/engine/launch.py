"""What the command-line tools of training and testing have in common."""

import argparse
import atexit
import gc
import os
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from semidff.utils.installed import installed_file


def add_launch_arguments(parser: argparse.ArgumentParser, example: str) -> None:
    """Options of every tool that runs a config.

    Args:
        parser: The tool's parser.
        example: A setting that the help of ``--cfg-options`` shows.
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
        help='how the processes were started (torchrun: pytorch)',
    )
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )


def load_config(args: argparse.Namespace) -> Config:
    """The config that a tool's arguments describe: with its options, work_dir and launcher.

    Args:
        args: ``config`` and what :func:`add_launch_arguments` adds.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(installed_file(args.config))
    cfg.merge_from_dict(args.cfg_options or {})
    adapt_to_machine(cfg, args.launcher)
    default = Path('work_dirs') / Path(args.config).stem
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(default)
    return cfg


def adapt_to_machine(cfg: Config, launcher: str) -> None:
    """Sets the launcher, and gloo as the backend of distributed runs where there is no GPU.

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
        # mmengine's own start would select a CUDA device first; it leaves a group that exists alone.
        torch.distributed.init_process_group('gloo')


def _leave_group() -> None:
    """Ends the process group, whose threads may abort a process that ends before them.

    They end with the last reference to the group; models that were wrapped for it refer to it, in cycles.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()
