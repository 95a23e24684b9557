"""Mixed precision without loss scaling, on CPUs too."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs forward passes under bfloat16 autocast; weights and optimizer stay float32.

    mmengine's ``AmpOptimWrapper`` refuses CPUs. On one with bfloat16 instructions convolutions are three times as
    fast; on one without they would be emulated, so that there the wrapper does nothing.

    Args:
        enabled: True, False, or ``auto``: where the device computes in bfloat16.
        kwargs: Of mmengine's ``OptimWrapper``.
    """

    def __init__(self, enabled: bool | str = 'auto', **kwargs) -> None:
        super().__init__(**kwargs)
        if enabled not in (True, False, 'auto'):
            raise ValueError(f"enabled must be True, False or 'auto', got {enabled!r}")
        self.device = get_device()
        self.enabled = has_bfloat16(self.device) if enabled == 'auto' else enabled

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and mmengine's context of gradient accumulation."""
        autocast = torch.autocast(self.device, torch.bfloat16, enabled=self.enabled)
        with super().optim_context(model), autocast:
            yield


def has_bfloat16(device: str) -> bool:
    """Whether a device (``cpu`` or ``cuda``) has bfloat16 arithmetic."""
    if device == 'cuda':
        return torch.cuda.is_bf16_supported()
    capabilities = torch.backends.cpu.get_cpu_capability()
    return 'AVX512' in capabilities and torch.cpu._is_avx512_bf16_supported()
