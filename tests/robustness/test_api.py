"""Misuse of the Python API: a stored config is not run, and a changed result changes no other."""

import pytest
import torch

from semidff.apis import VideoInferencer
from semidff.checkpoints.safe import CheckpointError
from tests.tiny.project import contents
from tests.tiny.videos import frame, write_project

STORED = {
    'code': 'import os\nos.mkdir("touched")',
    'a file': "model = dict(type='VideoDetector', detector='config.py')",
    'nesting': '(' * 9999,
    'base': "_base_ = 'config.py'",
}


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A config and weights."""
    folder = tmp_path_factory.mktemp('api')
    write_project(folder, (1,))
    return folder


def make(files, **options) -> VideoInferencer:
    settings = dict(device='cpu', key_interval=3, show_progress=False) | options
    return VideoInferencer(str(files / 'config.py'), str(files / 'two.pth'), **settings)


@pytest.mark.parametrize('what', STORED)
def test_a_stored_config_is_not_run(files, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    state = torch.load(files / 'two.pth')['state_dict']
    torch.save(dict(state_dict=state, meta=dict(cfg=STORED[what])), tmp_path / 'w.pth')
    with pytest.raises((CheckpointError, ValueError), match=r'w\.pth|model'):
        VideoInferencer(None, 'w.pth', device='cpu')
    assert list(contents(tmp_path)) == ['w.pth']


FRAMES = [frame(0, n) for n in range(7)]


def boxes(samples) -> list[torch.Tensor]:
    return [sample.pred_instances.bboxes.clone() for sample in samples]


@pytest.mark.parametrize(
    'method', ['copy', 'interpolate', 'propagate', 'track', 'centered', 'blend']
)
def test_a_changed_result_changes_no_other(files, method):
    inferencer = make(files, method=method)
    expected = boxes(inferencer(FRAMES))
    found = []
    for sample in inferencer(FRAMES):
        found.append(sample.pred_instances.bboxes.clone())
        sample.pred_instances.bboxes.fill_(7)
        sample.pred_instances.scores.zero_()
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))
