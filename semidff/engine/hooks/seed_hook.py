"""Hook that makes the model's random draws a function of the iteration."""

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class SeedHook(Hook):
    """Seed PyTorch from (seed, iteration, rank) before every iteration.

    RoI samplers draw from PyTorch's global generator. With this seed a resumed run draws the same numbers as an
    uninterrupted one, without state in the checkpoint and for any number of ranks.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        # Knuth's multiplicative hash keeps the seeds of neighboring iterations apart.
        torch.manual_seed((runner.seed * 1_000_003 + runner.iter * 2654435761 + get_rank()) % 2**63)
