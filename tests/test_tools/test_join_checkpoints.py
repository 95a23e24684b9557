"""tools/model_converters/join_checkpoints.py."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.test_utils.test_safe_loading import Touch

TOOL = Path(__file__).resolve().parents[2] / 'tools/model_converters/join_checkpoints.py'


def test_checkpoints_that_can_run_code_need_trust(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict=dict(a=torch.ones(1)), other=Touch('touched')), 'old.pth')
    call = [str(TOOL), '--part', 'spatial=old.pth', '--out', 'new.pth']
    monkeypatch.setattr(sys, 'argv', call)
    with pytest.raises(SystemExit, match=r'refused.*--trust.*for experiments.*state_dict alone'):
        runpy.run_path(str(TOOL), run_name='__main__')
    assert not Path('touched').exists()
    monkeypatch.setattr(sys, 'argv', [*call, '--trust'])
    with pytest.warns(UserWarning, match='loaded with --trust'):
        runpy.run_path(str(TOOL), run_name='__main__')
    assert 'new.pth: 1 tensors' in capsys.readouterr().out
