"""Hooks that write the checkpoints of a training."""

import math
import os
import shutil
from collections import deque
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.hooks import Hook
from mmengine.runner import Runner

from semidff.utils.atomic_write import atomic_path
from semidff.utils.run_folder import occupy


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """Replace mmengine's hook of this name in configs with ``default_scope='mmdet'``.

    mmengine removes an old checkpoint before it saves the new one, so that ``max_keep_ckpts=1``
    leaves none if the run is killed or the disk is full. Here, old checkpoints are removed
    afterwards; until then the disk holds one more. The interval is rounded up to a multiple of the
    optimizer wrapper's ``accumulative_counts``, so that a resumed training loses no gradients. Only
    one training at a time can use a work folder.
    """

    def before_train(self, runner: Runner) -> None:
        accumulated = (runner.cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
        self.interval = accumulated * math.ceil(self.interval / accumulated)
        if is_main_process():
            self._lock = occupy(runner.work_dir)
            file = Path(runner.work_dir, 'last_checkpoint')
            named = runner._load_from or ''
            # Until this training saves a checkpoint, --resume continues from the checkpoint that it
            # resumed, and never from that of an earlier training in the folder.
            if not runner._resume:
                file.unlink(missing_ok=True)
                if file.with_name('last.pth').exists():
                    runner.logger.warning(
                        f'{runner.work_dir}: this training will replace last.pth, the result of an '
                        'earlier one; to keep it, give another --work-dir, to continue it, --resume'
                    )
            elif named and '://' not in named:
                file.write_text(os.path.abspath(named))
        super().before_train(runner)  # removes the checkpoints that a killed run left
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)

    def after_train(self, runner: Runner) -> None:
        super().after_train(runner)
        if is_main_process():
            self._lock.close()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        limit = self.max_keep_ckpts
        if limit > 0:
            if step not in self.keep_ckpt_ids:
                self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.max_keep_ckpts = -1  # mmengine removes nothing
        super()._save_checkpoint_with_step(runner, step, meta)
        self.max_keep_ckpts = limit
        while 0 < limit < len(self.keep_ckpt_ids):
            name = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
            path = self.file_backend.join_path(self.out_dir, name)
            if is_main_process() and self.file_backend.isfile(path):
                self.file_backend.remove(path)


@HOOKS.register_module()
class LastCheckpointHook(Hook):
    """Create ``last.pth``, or a file called ``name``, in the work folder of a finished training.

    Configs of later trainings can refer to it without knowing the number of iterations. It is a
    hard link to the final ``iter_N.pth``, or a copy on file systems without hard links. Without a
    checkpoint of the final iteration (early stopping, ``save_last=False``) the state is saved.
    """

    priority = 'LOWEST'

    def __init__(self, name: str = 'last.pth') -> None:
        self.name = name

    @master_only
    def after_train(self, runner: Runner) -> None:
        last = Path(runner.work_dir, self.name)
        final = Path(runner.message_hub.runtime_info.get('last_ckpt') or '')
        if final.name == f'iter_{runner.iter}.pth':
            with atomic_path(last) as unfinished:
                try:
                    os.link(final, unfinished)
                except OSError:
                    shutil.copy2(final, unfinished)
        else:
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            runner.save_checkpoint(runner.work_dir, last.name, meta=meta, by_epoch=False)
        runner.logger.info(f'The result of the training is {last}')
