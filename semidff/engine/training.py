"""Training of a config, as ``tools/train.py`` does it."""

import argparse
from contextlib import nullcontext

from mmengine.runner import Runner

from semidff.utils.run_folder import forget_earlier_run, occupy

from .launch import apply_train_options, is_first_process, prepare_run


def run_training(args: argparse.Namespace) -> None:
    """Train a model.

    Args:
        args: Options of ``tools/train.py``.

    Raises:
        ConfigError: If there is no such config, or a setting of it is impossible.
        OptionError: If an option does not fit the config.
        FileError: If the work folder cannot be used.
        FolderInUse: If another training works in the folder.
    """
    cfg = prepare_run(args)
    apply_train_options(cfg, args)
    first = is_first_process(cfg.launcher)
    with occupy(cfg.work_dir) if first else nullcontext():
        runner = Runner.from_cfg(cfg)
        if first and not cfg.get('resume'):
            forget_earlier_run(cfg.work_dir)
        runner.train()
