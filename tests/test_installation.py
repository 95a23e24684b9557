"""What an installed package holds."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from semidff import commands

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = dict(demo='--panels', experiment='--jobs', adapt='--plan-only', speed='--row')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel of a copy of the project."""
    project, out = tmp_path_factory.mktemp('project'), tmp_path_factory.mktemp('wheel')
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, project)
    for name in ('semidff', 'configs', 'tools'):
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, project / name, symlinks=True, ignore=ignored)
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
    names = {tool: tool for tool in tools} | dict(video_demo='demo', run_experiment='experiment')
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
