"""Randomness inside the model as a function of the iteration."""

import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class SeedHook(Hook):
    """Seeds PyTorch from (seed, iteration, rank) ahead of every iteration.

    RoI samplers draw from PyTorch's global generator. With its state a function of the iteration, a resumed run
    draws what the uninterrupted one would have drawn, without any state in the checkpoint and on any number of ranks.
    """

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seeds the generators of all devices."""
        # Knuth's multiplicative hash keeps the seeds of neighboring iterations apart.
        torch.manual_seed((runner.seed * 1_000_003 + runner.iter * 2654435761 + get_rank()) % 2**63)
