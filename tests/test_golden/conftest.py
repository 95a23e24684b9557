"""The original's network, built once for all tests of this folder."""

import pytest

from tests.test_golden import original


@pytest.fixture(scope='session')
def built():
    """The network and a copy of what training changes."""
    model = original.build()
    state = model.state_dict()
    changing = {k: v.clone() for k, v in state.items() if 'backbone' not in k and 'neck' not in k}
    return model, changing


@pytest.fixture
def model(built):
    """The network with the goldens' parameters."""
    model, state = built
    original.load(model, state)
    model.zero_grad(set_to_none=True)
    yield model
    model.teacher.__dict__.pop('proposals', None)
