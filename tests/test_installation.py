"""What an installed package holds, and whether it is found."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from semidff import commands

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = dict(demo='--panels', adapt='--no-training', speed='--row')


@pytest.fixture(scope='module')
def project(tmp_path_factory) -> Path:
    """A copy of the project, in a folder with the name of a clone."""
    project = tmp_path_factory.mktemp('project') / 'semidff'
    project.mkdir()
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, project)
    for name in ('semidff', 'configs', 'tools'):
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, project / name, symlinks=True, ignore=ignored)
    return project


@pytest.fixture(scope='module')
def wheel(project, tmp_path_factory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*command, '-w', str(out), str(project)], check=True)
    with zipfile.ZipFile(next(out.glob('semidff-*.whl'))) as file:
        yield file


def test_wheel_has_all_modules_configs_and_tools(wheel):
    expected = {'semidff/.mim/model-index.yml'}
    for folder, inside in (
        ('semidff', ''),
        ('configs', 'semidff/.mim/'),
        ('tools', 'semidff/.mim/'),
    ):
        files = [*(ROOT / folder).rglob('*.py'), *(ROOT / folder).rglob('*.pth')]
        expected |= {f'{inside}{path.relative_to(ROOT).as_posix()}' for path in files}
    assert {name for name in wheel.namelist() if '.dist-info/' not in name} == expected
    name = 'configs/quickstart/_base_/data.py'  # a file in place of a link
    assert wheel.read(f'semidff/.mim/{name}') == (ROOT / name).read_bytes()


def test_console_commands(wheel):
    (points,) = (name for name in wheel.namelist() if name.endswith('entry_points.txt'))
    lines = wheel.read(points).decode().splitlines()
    tools = {path.stem for path in (ROOT / 'tools').rglob('*.py')}
    names = {tool: tool for tool in tools} | dict(video_demo='demo')
    for name in names.values():
        assert f'semidff-{name.replace("_", "-")} = semidff.commands:{name}' in lines


@pytest.mark.parametrize(('command', 'option'), COMMANDS.items())
def test_command_runs_its_tool(monkeypatch, capsys, tmp_path, command, option):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', [f'semidff-{command}', '--help'])
    with pytest.raises(SystemExit):
        getattr(commands, command)()
    printed = capsys.readouterr().out
    assert 'usage: ' in printed and option in printed


def test_an_editable_installation_is_found_from_the_folder_above_the_clone(project, tmp_path):
    """There, ``semidff`` is a folder without ``__init__.py``, too: a namespace package if nothing
    else is found.
    """
    build = f'from setuptools.build_meta import build_editable; build_editable({str(tmp_path)!r})'
    subprocess.run([sys.executable, '-c', build], cwd=project, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob('*.whl'))) as file:
        file.extractall(tmp_path)
    code = (
        f'import site; site.addsitedir({str(tmp_path)!r}); import semidff; print(semidff.__file__)'
    )
    environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    for folder in (project.parent, project, tmp_path):
        command = [sys.executable, '-S', '-c', code]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        assert Path(done.stdout.strip()) == project / 'semidff' / '__init__.py'
