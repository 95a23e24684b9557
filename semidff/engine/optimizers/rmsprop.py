"""RMSProp of MXNet, which the authors of semi-DFF used."""

from collections.abc import Callable, Iterable

import torch
from mmengine.registry import OPTIMIZERS
from torch.optim import Optimizer


@OPTIMIZERS.register_module()
class RMSpropMX(Optimizer):
    """RMSProp with epsilon *inside* the square root.

    ``n <- alpha n + (1 - alpha) g^2``, ``w <- w - lr g / sqrt(n + eps)``. PyTorch adds epsilon outside the root
    and uses alpha 0.99: its first steps on parameters with small gradients are many times larger and can move a
    randomly initialized flow outside the feature map, where the warp has no gradient. Here gradients far below
    ``sqrt(eps)`` lead to the steps of plain SGD with learning rate ``lr / sqrt(eps)``.

    Args:
        lr: Learning rate; 5e-5 in semi-DFF 3.5, in both steps.
        alpha: Decay rate of the mean square.
        eps: Added to the mean square.
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
        if lr < 0 or eps <= 0 or not 0 <= alpha < 1 or weight_decay < 0:
            raise ValueError(
                'RMSpropMX needs lr >= 0, eps > 0, 0 <= alpha < 1 and weight_decay >= 0, got '
                f'lr={lr}, eps={eps}, alpha={alpha}, weight_decay={weight_decay}'
            )
        super().__init__(params, dict(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> torch.Tensor | None:
        """Perform one update; ``closure`` recomputes and returns the loss, as in PyTorch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
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
        return loss
