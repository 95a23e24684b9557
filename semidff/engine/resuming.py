"""Resuming of a training: the checkpoint that it continues from."""

import argparse

from mmengine.config import Config

from semidff.utils.arguments import OptionError
from semidff.utils.checkpoint import read_checkpoint
from semidff.utils.run_folder import latest_checkpoint


def apply_resume(cfg: Config, args: argparse.Namespace) -> bool:
    """Put the checkpoint to resume from into a training config.

    Without a checkpoint in the work folder, ``--resume`` starts the training as without the option.

    Args:
        cfg: The config, changed in place.
        args: Options of ``tools/train.py``.

    Returns:
        Whether the training is resumed.

    Raises:
        OptionError: If the checkpoint has no state of a training.
        CheckpointError: If it cannot be read.
    """
    given = args.resume or (cfg.get('resume') and (cfg.get('load_from') or 'auto'))
    if not given:
        return False
    path = latest_checkpoint(cfg.work_dir) if given == 'auto' else given
    cfg.resume = path is not None
    if path is None:
        return False
    cfg.load_from = None if given == 'auto' else path
    if '://' in path:
        return True
    _, meta = read_checkpoint(path)
    if not {'iter', 'epoch'} <= meta.keys():
        raise OptionError(
            f'{path}: holds weights, but no state of a training to resume; start from its weights with '
            f'--cfg-options load_from={path} load_parts=None'
        )
    return True
