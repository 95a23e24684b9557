"""Optimizer wrapper for mixed precision without loss scaling, also on CPUs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from semidff.models.precision import keep_boxes_precise


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Run forward passes under bfloat16 autocast; weights and optimizer state stay float32.

    mmengine's ``AmpOptimWrapper`` does not support CPUs. CPUs with bfloat16 instructions compute convolutions three
    times as fast; others would emulate them, so ``auto`` leaves autocast off there. Boxes stay in float32
    (:func:`~semidff.models.precision.keep_boxes_precise`).

    Args:
        enabled: True, False, or ``auto`` (if the device has bfloat16 arithmetic).
        kwargs: Arguments of mmengine's ``OptimWrapper``.
    """

    def __init__(self, enabled: bool | str = 'auto', **kwargs) -> None:
        super().__init__(**kwargs)
        if enabled not in (True, False, 'auto'):
            raise ValueError(f"enabled must be True, False or 'auto', got {enabled!r}")
        self.device = get_device()
        self.enabled = enabled
        if enabled == 'auto' and self.device == 'cuda':
            self.enabled = torch.cuda.is_bf16_supported()
        elif enabled == 'auto':
            capabilities = torch.backends.cpu.get_cpu_capability()
            self.enabled = 'AVX512' in capabilities and torch.cpu._is_avx512_bf16_supported()

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        if self.enabled:
            keep_boxes_precise(model)
        autocast = torch.autocast(self.device, torch.bfloat16, enabled=self.enabled)
        with super().optim_context(model), autocast:
            yield
