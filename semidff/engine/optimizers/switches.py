"""Command-line switches that concern every optimizer of a config, those of distillation steps included."""

from collections.abc import Iterator

import torch
from mmengine.config import Config


def adapt_optimizers(cfg: Config, amp: bool = False, accumulate: int | None = None) -> None:
    """Turns on mixed precision and gradient accumulation in a training config.

    Args:
        cfg: The config, changed in place.
        amp: Whether to use mixed precision: mmengine's ``AmpOptimWrapper`` on a GPU, bfloat16 on a CPU.
        accumulate: Iterations whose gradients are added up.

    Raises:
        ValueError: If ``accumulate`` is not positive or mixed precision meets another kind of wrapper.
    """
    if accumulate is not None and accumulate < 1:
        raise ValueError(f'--accumulate must be at least 1, got {accumulate}')
    for wrapper in _wrappers(cfg):
        if amp:
            kind = wrapper.get('type', 'OptimWrapper')
            if kind != 'OptimWrapper':
                raise ValueError(f'--amp works with OptimWrapper, but the config has {kind}')
            if torch.cuda.is_available():
                wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
            else:
                wrapper.update(type='BFloat16OptimWrapper', enabled=True)
        if accumulate is not None:
            wrapper.accumulative_counts = accumulate


def _wrappers(cfg: Config) -> Iterator[dict]:
    if cfg.get('optim_wrapper'):
        yield cfg.optim_wrapper
    for step in (cfg.get('train_cfg') or {}).get('steps', []):
        if step.get('optim_wrapper'):
            yield step.optim_wrapper
