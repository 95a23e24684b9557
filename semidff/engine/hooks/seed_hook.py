"""Hook that makes the model's random draws a function of the iteration."""

import random

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class SeedHook(Hook):
    """Seed PyTorch, NumPy and Python from (seed, iteration, rank) before every iteration.

    Samplers of anchors and RoIs draw from PyTorch's global generator, those of the original from NumPy's. With this
    seed a resumed run draws the same numbers as an uninterrupted one, without state in the checkpoint, and each rank
    draws its own.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        # Knuth's multiplicative hash keeps the seeds of neighboring iterations apart.
        seed = (runner.seed * 1_000_003 + runner.iter * 2654435761 + get_rank()) % 2**63
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
