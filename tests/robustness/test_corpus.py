"""Every input of the corpus gets its verdict: a message, exit code 1, nothing written, in seconds and little memory."""

import runpy
import sys

import pytest

from tests.robustness import data_cases, tool_cases
from tests.robustness.project import make_project
from tests.robustness.verdict import TOOLS, check

DATA = data_cases.CASES
CASES = list(tool_cases.cases())


@pytest.fixture(scope='session')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('project') / 'project'
    make_project(folder)
    return folder


@pytest.mark.parametrize('case', DATA, ids=range(len(DATA)))
def test_data(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path)


@pytest.mark.parametrize('case', CASES, ids=range(len(CASES)))
def test_tool(case, project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(case, tmp_path, project)


def test_the_valid_inputs_of_the_corpus_are_accepted(tmp_path, monkeypatch):
    """Otherwise all cases could be refused for another reason."""
    monkeypatch.chdir(tmp_path)
    data_cases.annotations(tmp_path, detections=data_cases.ROWS)
    data_cases.xml_folder(tmp_path, data_cases.XML.format(**data_cases.GOOD))
    convert = (*data_cases.CONVERT[:6], 'new.json', *data_cases.CONVERT[7:])
    for tool, arguments in (
        ('eval_detections.py', data_cases.EVALUATE),
        ('convert_dataset.py', convert),
    ):
        monkeypatch.setattr(sys, 'argv', [str(TOOLS / tool), *arguments])
        runpy.run_path(str(TOOLS / tool), run_name='__main__')
    assert (tmp_path / 'r.json').exists() and (tmp_path / 'new.json').exists()
