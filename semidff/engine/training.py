"""Training of a config, as ``tools/train.py`` does it."""

import argparse
from contextlib import nullcontext

from mmengine.runner import Runner

from semidff.utils.run_folder import occupy

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
    with occupy(cfg.work_dir) if is_first_process(cfg.launcher) else nullcontext():
        Runner.from_cfg(cfg).train()
