"""Configs and tools of the package are found from any folder."""

from pathlib import Path

import pytest

from semidff.utils.installed import PROJECT, installed_file

CONFIG = 'configs/dff/dff_r101-original.py'


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_file_of_the_package():
    for given in (CONFIG, Path(CONFIG), 'semidff::dff/dff_r101-original.py'):
        assert installed_file(given) == str(PROJECT / CONFIG)
    assert (PROJECT / CONFIG).is_file()
    for tool in ('train', 'test', 'analysis/speed'):  # which experiments run
        assert (PROJECT / f'tools/{tool}.py').is_file()
        assert installed_file(f'tools/{tool}.py') == str(PROJECT / f'tools/{tool}.py')


def test_own_file_comes_first(folder):
    (folder / CONFIG).parent.mkdir(parents=True)
    (folder / CONFIG).touch()
    assert installed_file(CONFIG) == CONFIG
    assert installed_file('semidff::dff/dff_r101-original.py') == str(PROJECT / CONFIG)


def test_unknown_files_are_left_to_the_caller(folder):
    for path in ('configs/none.py', '/none.py', str(folder / CONFIG), 'configs/dff', 'x.py'):
        assert installed_file(path) == path
