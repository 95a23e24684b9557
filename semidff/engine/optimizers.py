"""Optimizers and their wrappers."""

import functools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.optim import Optimizer

from semidff.models.precision import keep_boxes_precise

WORTHWHILE = 1.2
"""Speed-up of a convolution over float32 from which ``auto`` chooses bfloat16 on a CPU."""


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Run forward passes under bfloat16 autocast; weights and optimizer state stay float32.

    mmengine's ``AmpOptimWrapper`` does not support CPUs. Boxes stay in float32
    (:func:`~semidff.models.precision.keep_boxes_precise`). ``enabled`` is True, False, or ``auto``:
    if the device computes convolutions faster in bfloat16, and in a resumed training if its
    checkpoint says so.
    """

    def __init__(self, enabled: bool | str = 'auto', **kwargs) -> None:
        super().__init__(**kwargs)
        self.device = get_device()
        self.auto = enabled == 'auto'
        if self.auto:  # the same in all processes of a training
            decision = [bfloat16_pays(self.device)]
            broadcast_object_list(decision)
            enabled = decision[0]
        self.enabled, self._prepared = enabled, False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        if self.enabled and not self._prepared:
            keep_boxes_precise(model)
            self._prepared = True
        autocast = torch.autocast(self.device, torch.bfloat16, enabled=self.enabled)
        with super().optim_context(model), autocast:
            yield

    def state_dict(self) -> dict:
        """Return the optimizer's state and whether autocast is on."""
        return dict(super().state_dict(), bfloat16=self.enabled)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the optimizer's state and, with ``auto``, whether autocast was on."""
        state_dict = dict(state_dict)
        self.keep_precision(state_dict.pop('bfloat16', self.enabled))
        super().load_state_dict(state_dict)

    def keep_precision(self, enabled: bool) -> None:
        """With ``auto``, continue in the precision in which the training began."""
        if self.auto and enabled != self.enabled:
            name = 'bfloat16' if enabled else 'float32'
            print_log(f'The training continues in {name}, as it began', 'current')
            self.enabled = enabled


@functools.cache
def bfloat16_pays(device: str) -> bool:
    """Return whether bfloat16 is faster than float32 on a device.

    CPUs without bfloat16 instructions emulate them. An Intel Xeon that has them, but no AMX, takes
    1.7 times as long as in float32 for a convolution, so that one is timed.
    """
    if device == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capable = 'AVX512' in torch.backends.cpu.get_cpu_capability()
    if not (capable and torch.cpu._is_avx512_bf16_supported()):
        return False
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    maps = {
        dtype: (torch.ones(2, 128, 32, 32, dtype=dtype), torch.ones(128, 128, 3, 3, dtype=dtype))
        for dtype in seconds
    }
    with torch.inference_mode():
        for _ in range(10):  # in turn, since other processes may disturb
            for dtype, operands in maps.items():
                start = time.perf_counter()
                F.conv2d(*operands, padding=1)
                seconds[dtype].append(time.perf_counter() - start)
    full, half = (min(times) for times in seconds.values())
    return full > WORTHWHILE * half


@OPTIMIZERS.register_module()
class RMSpropMX(Optimizer):
    """RMSProp with epsilon *inside* the square root.

    ``n <- alpha n + (1 - alpha) g^2``, ``w <- w - lr g / sqrt(n + eps)``. PyTorch adds epsilon
    outside the root and uses alpha 0.99: its first steps on parameters with small gradients are
    many times larger and can move a randomly initialized flow outside the feature map, where the
    warp has no gradient. Here gradients far below ``sqrt(eps)`` lead to the steps of plain SGD with
    learning rate ``lr / sqrt(eps)``.

    Args:
        lr: Learning rate; 5e-5 in semi-DFF 3.5, in both steps.
        weight_decay: L2 penalty; the authors use none.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 5e-5,
        alpha: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group['params']:
                gradient = parameter.grad
                if gradient is None:
                    continue
                if group['weight_decay']:
                    gradient = gradient.add(parameter, alpha=group['weight_decay'])
                state = self.state[parameter]
                if not state:
                    state['square_avg'] = torch.zeros_like(parameter)
                mean = state['square_avg']
                mean.mul_(group['alpha']).addcmul_(gradient, gradient, value=1 - group['alpha'])
                parameter.addcdiv_(gradient, (mean + group['eps']).sqrt_(), value=-group['lr'])
