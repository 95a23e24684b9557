"""Sampling of anchors with the original's random numbers."""

import numpy as np
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class OriginalAnchorSampler(RandomSampler):
    """mmdet's random sampler with the original's random numbers: numpy draws the anchors that are left out.

    After ``np.random.seed(s)``, the sample is that of the original. Arguments are those of mmdet's ``RandomSampler``.
    """

    def _sample_pos(self, assign_result: AssignResult, num_expected: int, **kwargs) -> Tensor:
        return _without_surplus((assign_result.gt_inds > 0).nonzero()[:, 0], num_expected)

    def _sample_neg(self, assign_result: AssignResult, num_expected: int, **kwargs) -> Tensor:
        return _without_surplus((assign_result.gt_inds == 0).nonzero()[:, 0], num_expected)


def _without_surplus(candidates: Tensor, number: int) -> Tensor:
    surplus = len(candidates) - number
    if surplus <= 0:
        return candidates
    keep = torch.ones(len(candidates), dtype=torch.bool)
    keep[torch.from_numpy(np.random.choice(len(candidates), surplus, replace=False))] = False
    return candidates[keep.to(candidates.device)]
