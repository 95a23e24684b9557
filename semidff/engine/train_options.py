"""The command-line options of a training, put into its config."""

from argparse import Namespace
from collections.abc import Iterator

import torch
from mmengine.config import Config

from .launch import OptionError


def apply_train_options(cfg: Config, args: Namespace) -> None:
    """Put seed, precision, gradient accumulation and resuming into a training config.

    Args:
        cfg: The config, changed in place.
        args: Options of ``tools/train.py``; those that are None change nothing.

    Raises:
        OptionError: If the config does not support an option.
    """
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness', {}), seed=args.seed)
    adapt_optimizers(cfg, args.amp, args.accumulate)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume


def adapt_optimizers(cfg: Config, amp: bool = False, accumulate: int | None = None) -> None:
    """Turn on mixed precision and gradient accumulation in all optimizers, those of distillation steps included.

    Args:
        cfg: The config, changed in place.
        amp: Whether to use mixed precision: mmengine's ``AmpOptimWrapper`` on a GPU, bfloat16 on a CPU.
        accumulate: Number of iterations whose gradients are summed.

    Raises:
        OptionError: If ``accumulate`` is not positive, or the config has an optimizer wrapper without mixed precision.
    """
    if accumulate is not None and accumulate < 1:
        raise OptionError(f'--accumulate must be at least 1, got {accumulate}')
    for wrapper in _wrappers(cfg):
        if amp:
            kind = wrapper.get('type', 'OptimWrapper')
            if kind != 'OptimWrapper':
                raise OptionError(f'--amp works with OptimWrapper, but the config has {kind}')
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
