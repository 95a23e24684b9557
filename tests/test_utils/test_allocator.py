"""Memory that is used again; in a process of its own, as the setting cannot be taken back."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from semidff.utils.allocator import keep_freed_memory

BYTES = 64 << 20
PROGRAM = f"""
import resource
import torch
from semidff.utils.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones({BYTES // 4})
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_freed_memory(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has the setting')
@pytest.mark.skipif(torch.cuda.is_available(), reason='for networks on the CPU')
def test_freed_memory_is_used_again():
    environment = {k: v for k, v in os.environ.items() if 'MALLOC_' not in k and 'GLIBC' not in k}
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    before, kept, after = done.stdout.splitlines()[-1].split()
    assert kept == 'True'
    if int(before) >= 10 * BYTES // os.sysconf('SC_PAGE_SIZE'):  # not so where pages are huge
        assert int(after) < int(before) / 4


def test_settings_of_the_environment_are_respected(monkeypatch):
    monkeypatch.setenv('MALLOC_TOP_PAD_', '131072')
    assert not keep_freed_memory()
