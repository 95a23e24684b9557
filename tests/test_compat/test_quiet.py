"""Importing the package or the metrics and starting a checkpoint hook print nothing."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import semidff.apis
import mmdet.evaluation
from mmengine.fileio import FileClient
FileClient.infer_client(None, 'folder')
from mmengine.logging import print_log
print_log('other messages are shown')
import torch
torch.meshgrid(torch.arange(2), torch.arange(2))
"""


def test_imports_are_silent_and_other_messages_are_shown():
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout == 'other messages are shown\n'
    assert not done.stderr
