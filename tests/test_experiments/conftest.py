"""Each test runs in a folder of its own, with the tools of its project in place of those of the package."""

import pytest


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('semidff.experiments.runner.PROJECT', tmp_path)
