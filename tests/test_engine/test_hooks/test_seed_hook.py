"""Random numbers of an iteration do not depend on the iterations before."""

from types import SimpleNamespace

import torch

from semidff.engine import SeedHook


def _draw(seed: int, iteration: int) -> float:
    SeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), iteration)
    return torch.rand(()).item()


def test_function_of_seed_and_iteration():
    first = _draw(0, 7)
    torch.rand(100)
    assert _draw(0, 7) == first
    assert len({first, _draw(0, 8), _draw(1, 7), _draw(0, 6)}) == 4
