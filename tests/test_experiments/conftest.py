"""Tools of the tests' projects in place of those of the package."""

import pytest


@pytest.fixture(autouse=True)
def _tools(tmp_path, monkeypatch):
    monkeypatch.setattr('semidff.experiments.runner.PROJECT', tmp_path)
