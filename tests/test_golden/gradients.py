"""Comparison of a network's gradients with those of a golden."""

import numpy as np
import torch

from semidff.models import SemiDFF
from tests.test_golden.original import arrays, in_original_order, norm, probes, student

NORM, VALUE = 1e-4, 1e-4


def by_original_name(model: SemiDFF, loss: torch.Tensor) -> dict[str, np.ndarray]:
    """Gradients of what learns, in the original's names and orders; the graph is kept."""
    learning = {k: (p, order) for k, (p, order) in student(model).items() if p.requires_grad}
    gradients = torch.autograd.grad(
        loss, [p for p, _ in learning.values()], retain_graph=True, materialize_grads=True
    )
    pairs = zip(learning.items(), gradients, strict=True)
    return {name: in_original_order(gradient, order) for (name, (_, order)), gradient in pairs}


def check_probes(gradients: dict[str, np.ndarray], golden: dict[str, dict]) -> None:
    """Norms to 1e-4 relative, single values to 1e-4 of the largest."""
    for name, expected in golden.items():
        gradient = gradients[name]
        size, largest = norm(gradient), np.abs(gradient).max()
        assert abs(size - expected['norm']) <= NORM * expected['norm'], (
            name,
            size,
            expected['norm'],
        )
        difference = np.abs(probes(gradient) - np.asarray(expected['values'])).max()
        assert difference <= VALUE * largest, (name, difference, largest)


def check_full(gradients: dict[str, np.ndarray], file: str, prefix: str) -> int:
    """Whole gradients, where the golden has them; returns how many."""
    golden = {k.removeprefix(prefix): v for k, v in arrays(file).items() if k.startswith(prefix)}
    for name, expected in golden.items():
        # Gradients that the golden writes as zeros have nothing to be relative to.
        tolerance = VALUE * max(np.abs(expected).max(), 1e-30)
        assert np.abs(gradients[name] - expected).max() <= tolerance, name
    return len(golden)
