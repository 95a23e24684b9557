"""Hook that stops a training at the first loss that is infinite or NaN, and reports one that diverges."""

import math

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from semidff.utils.run_folder import latest_checkpoint

WINDOW = 100
"""Iterations over which the loss is averaged."""


class NonFiniteLossError(RuntimeError):
    """A loss became infinite or NaN."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raise :class:`NonFiniteLossError` at the first loss that is infinite or NaN.

    A loss that stays finite but rises tenfold is reported by a warning: flow that points outside the maps has no
    gradient, so that the training does not recover.

    Unlike mmdet's ``CheckInvalidLossHook`` it checks every term of the loss in every iteration and before the
    checkpoint hook, so that no damaged checkpoint is saved. The error names the iteration, the frames and remedies.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._recent: list[float] = []
        self._lowest = math.inf

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        values = {k: torch.as_tensor(v).detach().item() for k, v in (outputs or {}).items()}
        bad = {k: v for k, v in values.items() if not math.isfinite(v)}
        if bad:
            samples = (data_batch or {}).get('data_samples') or []
            frames = ', '.join(str(s.get('img_path', 'an unnamed frame')) for s in samples)
            raise NonFiniteLossError(
                f'iteration {runner.iter + 1}: {", ".join(f"{k} = {v}" for k, v in bad.items())} on '
                f'{frames or "this batch"}. This iteration was not saved. {_remedy(runner)}'
            )
        self._watch(runner, values)

    def _watch(self, runner: Runner, values: dict[str, float]) -> None:
        """Compare the mean loss of the last iterations with the lowest mean of a step of the training."""
        if self._names != (names := frozenset(values)):  # another step has another loss
            self._names, self._recent, self._lowest = names, [], math.inf
        self._recent.append(values.get('loss', 0.0))
        if len(self._recent) < WINDOW:
            return
        mean, self._recent = sum(self._recent) / WINDOW, []
        if mean > 10 * self._lowest > 0:
            runner.logger.warning(
                f'iteration {runner.iter + 1}: the loss is {mean:.3g} on average over {WINDOW} iterations and was '
                f'{self._lowest:.3g} before; the training has probably diverged. Start it again with a lower learning '
                'rate or a lower bound of the gradient (optim_wrapper.clip_grad)'
            )
        self._lowest = min(self._lowest, mean)


def _remedy(runner: Runner) -> str:
    clip = 'clip the gradient (optim_wrapper.clip_grad)'
    if saved := latest_checkpoint(runner.work_dir):
        return (
            f'To resume from {saved} with --resume, {clip}; to lower the learning rate, start again, since a resumed '
            'training keeps its own.'
        )
    return f'Start again with a lower learning rate, or {clip}.'
