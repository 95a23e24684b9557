"""One name for the result of a training."""

import os
import shutil
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class LastCheckpointHook(Hook):
    """Leaves ``last.pth`` in the work folder when a training has ended.

    Configs of later trainings can name it without knowing the number of iterations. It is a hard
    link to the final ``iter_N.pth``, or a copy where the file system has no hard links; if there is
    no checkpoint of the final iteration (early stopping, ``save_last=False``), it is saved. It
    appears in one move, so it is always whole, and never before the training has ended.

    Args:
        name (str): Name of the file.
    """

    priority = 'LOWEST'

    def __init__(self, name: str = 'last.pth') -> None:
        self.name = name

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Makes the file."""
        folder = Path(runner.work_dir)
        final, part = folder / f'iter_{runner.iter}.pth', folder / f'{self.name}.part'
        part.unlink(missing_ok=True)
        if final.is_file():
            _link_or_copy(final, part)
        else:
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            runner.save_checkpoint(str(folder), part.name, meta=meta, by_epoch=False)
        os.replace(part, folder / self.name)
        # Renaming a link to another link of the same file does nothing and leaves both.
        part.unlink(missing_ok=True)
        runner.logger.info(f'The result of the training is {folder / self.name}')


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
