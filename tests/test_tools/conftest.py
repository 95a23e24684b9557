"""A small project, and how its tools are run."""

from pathlib import Path

import pytest

from tests.damaged_video import write_video
from tests.processes import call
from tests.tiny.videos import video_detector_cfg, write_project


@pytest.fixture(scope='package')
def project(tmp_path_factory):
    """A video, labeled images, configs with and without temporal module, and a checkpoint."""
    folder = tmp_path_factory.mktemp('project')
    config = write_project(folder, (4,))
    config.model = video_detector_cfg(temporal=False)
    config.dump(folder / 'alone.py')
    write_video(folder / 'in.mp4', 25, fps=12.5, size=(96, 64))
    return folder


@pytest.fixture
def run(project, monkeypatch, capsys):
    """Runs a tool in the project; what it prints."""

    def run(tool: str | Path, *arguments: object) -> str:
        monkeypatch.chdir(project)
        call(tool, *arguments)
        return capsys.readouterr().out

    return run


@pytest.fixture
def fails(run):
    """Runs a tool that must fail; its message, which begins with its name."""

    def fails(tool: str, *arguments: object) -> str:
        with pytest.raises(SystemExit) as end:
            run(tool, *arguments)
        assert str(end.value.code).startswith(f'tools/{tool}: '), end.value.code
        return end.value.code  # a text as exit code is printed and gives status 1

    return fails
