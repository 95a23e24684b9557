"""Resuming of a training: the checkpoint that it continues from, and its seed."""

import argparse
import os
from pathlib import Path

from mmengine.config import Config

from semidff.utils.arguments import OptionError
from semidff.utils.checkpoint import read_checkpoint
from semidff.utils.run_folder import latest_checkpoint


def apply_resume(cfg: Config, args: argparse.Namespace) -> bool:
    """Put the checkpoint to resume from, and its seed, into a training config.

    Without any checkpoint in the work folder, ``--resume`` starts the training as without the option.

    Args:
        cfg: The config, changed in place.
        args: Options of ``tools/train.py``.

    Returns:
        Whether the training is resumed.

    Raises:
        OptionError: If the checkpoint has no state of a training, or another seed than ``--seed``, or the work folder
            has checkpoints of an earlier training alone, or another one of the same name.
        CheckpointError: If it cannot be read.
    """
    given = args.resume or (cfg.get('resume') and (cfg.get('load_from') or 'auto'))
    if not given:
        return False
    path = latest_checkpoint(cfg.work_dir) if given == 'auto' else given
    if path is None and (earlier := _checkpoints(Path(cfg.work_dir))):
        raise OptionError(
            f'{cfg.work_dir}: the last training in this folder has no checkpoint yet. To continue the one before it, '
            f'give --resume {earlier[-1]}; to start anew, leave --resume out'
        )
    cfg.resume = path is not None
    if path is None:
        return False
    cfg.load_from = None if given == 'auto' else path
    if '://' in path:
        return True
    own = Path(cfg.get('work_dir', ''), Path(path).name)
    if own.exists() and Path(path).exists() and not own.samefile(path):
        raise OptionError(
            f'--resume {path}: {cfg.work_dir} has another {own.name}, that of another training; give another --work-dir'
        )
    _, meta = read_checkpoint(path)
    if not {'iter', 'epoch'} <= meta.keys():
        raise OptionError(
            f'{path}: holds weights, but no state of a training to resume; start from its weights with '
            f'--cfg-options load_from={path} load_parts=None'
        )
    seed = meta.get('seed')
    if type(seed) is int:
        if args.seed not in (None, seed):
            raise OptionError(
                f'--seed {args.seed}: {path} is of a training with seed {seed}, which does not change when it is '
                'resumed; leave --seed out'
            )
        # Here, since mmengine sets it after it has built the data loader.
        cfg.randomness = dict(cfg.get('randomness', {}), seed=seed)
    return True


def _checkpoints(folder: Path) -> list[Path]:
    found = (path for name in ('iter', 'epoch') for path in folder.glob(f'{name}_*.pth'))
    return sorted(found, key=os.path.getmtime)
