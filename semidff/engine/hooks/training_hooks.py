"""Hooks around the iterations of a training."""

import math
import random

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from semidff.checkpoints.building import num_classes_of, unwrapped
from semidff.models.precision import to_channels_last


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Convert the model's weights to channels-last layout before training and testing.

    Convolutions pass the layout on to their outputs. On CPUs this makes them about 1.5 times as
    fast, and twice as fast with mixed precision; on GPUs mixed precision benefits too. The weights
    in checkpoints are not affected. The optimizer state of a resumed checkpoint, which has the
    layout of its run, gets that of the weights.
    """

    def before_run(self, runner: Runner) -> None:
        to_channels_last(unwrapped(runner.model))

    def before_train(self, runner: Runner) -> None:
        # Fused optimizers on CPUs ignore strides: they pair weights and state by their order in
        # memory.
        optimizer = getattr(runner.optim_wrapper, 'optimizer', runner.optim_wrapper)
        for weight, state in optimizer.state.items():
            for name, value in state.items():
                if torch.is_tensor(value) and value.shape == weight.shape:
                    state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


@HOOKS.register_module()
class SeedHook(Hook):
    """Seed PyTorch, NumPy and Python from (seed, iteration, rank) before every iteration.

    Samplers of anchors and RoIs draw from PyTorch's global generator, the original's from NumPy's.
    With this seed a resumed run draws the same numbers as an uninterrupted one, without state in
    the checkpoint, and each rank draws its own.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        # Knuth's multiplicative hash keeps the seeds of neighboring iterations apart.
        seed = (runner.seed * 1_000_003 + runner.iter * 2654435761 + get_rank()) % 2**63
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)


class NonFiniteLossError(RuntimeError):
    """A loss or a trained weight became infinite or NaN."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raise :class:`NonFiniteLossError` at the first loss that is infinite or NaN.

    Unlike mmdet's ``CheckInvalidLossHook`` it checks every term of the loss in every iteration,
    before the checkpoint hook, so that no damaged checkpoint is saved. The terms come from the
    device in one transfer; the log gets their values, not tensors. The trained weights are checked
    before a checkpoint is saved, since a finite loss can have a non-finite gradient, and in a
    distributed training the loss of another process may be NaN.
    """

    priority = 'HIGHEST'  # ahead of mmengine's log and of checkpoints

    _REMEDY = (
        'Clip the gradient (optim_wrapper.clip_grad) and continue with --resume, or start again '
        'with a lower learning rate.'
    )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        if not outputs:
            return
        terms = [torch.as_tensor(value).detach().double() for value in outputs.values()]
        device = max((term.device for term in terms), key=lambda device: device.type != 'cpu')
        values = torch.stack([term.to(device).reshape(()) for term in terms]).tolist()
        outputs.update(zip(outputs, values, strict=True))
        if bad := [f'{k} = {v}' for k, v in outputs.items() if not math.isfinite(v)]:
            samples = (data_batch or {}).get('data_samples') or []
            frames = ', '.join(str(s.get('img_path', 'an unnamed frame')) for s in samples)
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1}: {", ".join(bad)} on {frames or "this batch"}. '
                f'{self._REMEDY}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        named = unwrapped(runner.model).named_parameters()
        trained = [name for name, weight in named if weight.requires_grad]
        bad = [name for name in trained if not checkpoint['state_dict'][name].isfinite().all()]
        if bad:
            raise NonFiniteLossError(
                f'iteration {checkpoint["meta"]["iter"]}: {len(bad)} of {len(trained)} trained '
                f'weights are not finite, first {bad[0]}. The checkpoint was not saved. '
                f'{self._REMEDY}'
            )


@HOOKS.register_module()
class NumClassesHook(Hook):
    """Refuse training data with another number of classes than the model's heads.

    Unlike mmdet's ``NumClassCheckHook``, it ignores data without class names, such as unlabeled
    videos. ``tools/train.py`` adds the hook.
    """

    def before_train(self, runner: Runner) -> None:
        classes = (getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}).get('classes')
        for name, known in num_classes_of(unwrapped(runner.model)).items():
            if classes and known != len(classes):
                raise ValueError(
                    f'the model has num_classes={known} ({name}), but the data has {len(classes)} '
                    f'classes; set num_classes={len(classes)} or metainfo of the data set'
                )


@HOOKS.register_module()
class FrozenNormHook(Hook):
    """Keep the statistics of batch norm; small batches of a short training would worsen them."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        for module in unwrapped(runner.model).modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
