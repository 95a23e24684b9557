"""Random numbers of an iteration do not depend on the iterations before."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from semidff.engine import SeedHook
from semidff.engine.hooks import seed_hook
from semidff.models.rfcn import OriginalAnchorSampler

DRAWS = dict(
    torch=lambda: torch.rand(()).item(), numpy=lambda: np.random.rand(), python=random.random
)


@pytest.fixture(params=DRAWS)
def draw(request):
    """A function of seed, iteration and rank that draws a number."""
    return DRAWS[request.param]


def seeded(draw, seed: int, iteration: int):
    SeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), iteration)
    return draw()


def test_function_of_seed_and_iteration(draw):
    first = seeded(draw, 0, 7)
    for _ in range(100):
        draw()
    assert seeded(draw, 0, 7) == first
    assert len({first, seeded(draw, 0, 8), seeded(draw, 1, 7), seeded(draw, 0, 6)}) == 4


def test_ranks_draw_different_numbers(draw, monkeypatch):
    drawn = []
    for rank in range(3):
        monkeypatch.setattr(seed_hook, 'get_rank', lambda rank=rank: rank)
        drawn.append(seeded(draw, 0, 7))
    assert len(set(drawn)) == 3


def test_anchors_of_the_original_are_sampled_anew_on_resuming():
    sampler = OriginalAnchorSampler(num=8, pos_fraction=0.5)
    negatives = torch.arange(1000)

    def sample():
        return tuple(sampler._sample_neg(SimpleNamespace(gt_inds=negatives * 0), 8).tolist())

    first = seeded(sample, 0, 7)
    sample()
    assert seeded(sample, 0, 7) == first
    assert seeded(sample, 0, 8) != first
