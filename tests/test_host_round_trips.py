"""What counts as a round trip between host and device."""

import pytest
import torch

from tests.host_round_trips import HostRoundTrips

X = torch.arange(6.0)


@pytest.mark.parametrize(
    'trip',
    [
        lambda: X.sum().item(),
        lambda: bool(X.all()),
        lambda: float(X[0]),
        lambda: X.nonzero(),
        lambda: torch.where(X > 2),
        lambda: X[X > 2],
        lambda: X.clone().__setitem__(X > 2, torch.zeros(3)),
        lambda: X.masked_select(X > 2),
        lambda: X.unique(),
        lambda: X.repeat_interleave(X.long()),
        lambda: X.new_tensor([1.0]),
        lambda: torch.tensor([1.0]),
        lambda: torch.as_tensor([1.0]),
        lambda: X[[2, 1, 0]],
        lambda: X.cpu(),
        lambda: X.tolist(),
        lambda: X.to('meta'),
    ],
)
def test_round_trip(trip):
    with HostRoundTrips() as trips:
        trip()
    assert trips.found


def test_no_round_trips():
    with HostRoundTrips() as trips:
        X[X.long()]
        X[1:3] * 2
        torch.where(X > 2, X, 0)
        X.topk(3)
        torch.full_like(X, 1)
        X.clone().masked_fill_(X > 2, 0)
        X.to(X)
    assert not trips.found
    assert trips.kernels == 11
