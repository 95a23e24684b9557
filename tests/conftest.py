"""Settings of all tests."""

import pytest
from yapf.yapflib import yapf_api


@pytest.fixture(autouse=True)
def _configs_are_not_formatted(monkeypatch):
    """Write configs as they are: mmengine formats each several times, most of the time of a short training."""
    monkeypatch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, True))
