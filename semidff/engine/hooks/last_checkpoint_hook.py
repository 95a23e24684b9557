"""Hook that gives the result of every training the same file name."""

import os
import shutil
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from semidff.utils.atomic_write import atomic_path

NAME = 'last.pth'


@HOOKS.register_module()
class LastCheckpointHook(Hook):
    """Create ``last.pth`` in the work folder at the end of a training.

    Configs of later trainings can refer to it without knowing the number of iterations. It is a hard link to the
    final ``iter_N.pth``, or a copy on file systems without hard links. Without a checkpoint of the final iteration
    (early stopping, ``save_last=False``) the state is saved. The file is created atomically.
    """

    priority = 'LOWEST'

    @master_only
    def after_train(self, runner: Runner) -> None:
        folder = Path(runner.work_dir)
        final = folder / f'iter_{runner.iter}.pth'
        saved = Path(runner.message_hub.runtime_info.get('last_ckpt') or '')
        # A file of this name may be left from an earlier training.
        if final.is_file() and saved.resolve() == final.resolve():
            with atomic_path(folder / NAME) as unfinished:
                unfinished.unlink()  # a link needs a new name
                try:
                    os.link(final, unfinished)
                except OSError:
                    shutil.copy2(final, unfinished)
        else:
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            runner.save_checkpoint(str(folder), NAME, meta=meta, by_epoch=False)
        runner.logger.info(f'The result of the training is {folder / NAME}')
