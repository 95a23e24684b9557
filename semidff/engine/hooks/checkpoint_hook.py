"""mmengine's checkpoint hook, which keeps the last checkpoint until the next one is written."""

import os
from collections import deque
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from semidff.utils.atomic_write import atomic_write


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """Replace mmengine's hook of this name in configs with ``default_scope='mmdet'``.

    mmengine removes an old checkpoint before it saves the new one, so that ``max_keep_ckpts=1`` leaves none if the run
    is killed or the disk is full, and it does not write the file ``last_checkpoint`` atomically. Here, old checkpoints
    are removed at the end; until then the disk holds one more. Arguments are those of mmengine.

    Checkpoints hold the precision and the number of images per iteration of the training, which do not change when it
    is resumed.

    Raises:
        ValueError: If a training is resumed with others.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta'].update(_launch_settings(runner))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        own = _launch_settings(runner) if runner._resume else {}
        meta = checkpoint.get('meta', {})
        changed = [
            f'{key} {meta[key]}, not {own[key]}'
            for key in own
            if meta.get(key, own[key]) != own[key]
        ]
        if changed:
            raise ValueError(
                f'the checkpoint is of a training with {" and ".join(changed)}: resume it with the same --amp, '
                '--accumulate and batch size, and as many processes (or more parts of --accumulate)'
            )

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)  # removes what a killed run has not removed
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)
        named = runner._load_from if runner._resume else None
        if named and '://' not in named and is_main_process():
            # Until the next checkpoint, --resume continues from this one, not from the folder's newest.
            with atomic_write(Path(runner.work_dir, 'last_checkpoint')) as file:
                file.write(os.path.abspath(named))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        limited = self.max_keep_ckpts > 0
        if limited:
            if step not in self.keep_ckpt_ids:
                self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            with atomic_write(Path(runner.work_dir) / 'last_checkpoint') as file:
                file.write(self.last_ckpt)
        while limited and len(self.keep_ckpt_ids) > self.max_keep_ckpts:
            self._remove(self.keep_ckpt_ids.popleft())

    def _remove(self, step: int) -> None:
        path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)


def _launch_settings(runner: Runner) -> dict:
    """Return the settings of a training that its options may change, by the names they have in ``meta``."""
    wrapper = runner.cfg.get('optim_wrapper') or {}
    kind = wrapper.get('type', 'OptimWrapper')
    loader = runner.cfg.get('train_dataloader') or {}
    return dict(
        images_per_iteration=loader.get('batch_size', 1) * get_world_size(),
        optim_wrapper=kind if isinstance(kind, str) else kind.__name__,
    )
