"""Tensors that depend on sizes only, made once. Pure PyTorch."""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor

_Constants = Callable[..., tuple[Tensor, ...]]


def constants(function: _Constants) -> _Constants:
    """Decorate a function of hashable arguments that returns tensors, to keep these for the next frame.

    Nobody may change them. A graph that is compiled or exported gets tensors of its own.
    """
    kept = lru_cache(maxsize=64)(function)

    @wraps(function)
    def find(*key: object) -> tuple[Tensor, ...]:
        if torch.compiler.is_compiling():
            return function(*key)
        with torch.inference_mode(False):  # usable in training, too
            return kept(*key)

    return find
