"""Memory that is used again; in a process of its own, as the setting cannot be taken back."""

import os
import platform
import resource

import pytest
import torch

from semidff.utils.allocator import keep_freed_memory
from tests.processes import start

BYTES = 64 << 20


def faults() -> int:
    """Return how many pages of ten large tensors were not there yet."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(BYTES // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def report_faults() -> None:
    for name in [name for name in os.environ if 'MALLOC_' in name or 'GLIBC' in name]:
        del os.environ[name]
    print(faults(), keep_freed_memory('cpu'), faults())


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has the setting')
def test_freed_memory_is_used_again(tmp_path):
    process = start(report_faults, output=tmp_path / 'faults.txt')
    process.join(60)
    before, kept, after = (tmp_path / 'faults.txt').read_text().split()
    assert kept == 'True'
    if int(before) >= 10 * BYTES // os.sysconf('SC_PAGE_SIZE'):  # not so where pages are huge
        assert int(after) < int(before) / 4


def test_gpus_and_settings_of_the_environment_leave_the_allocator_as_it_is(monkeypatch):
    assert not keep_freed_memory('cuda:1')
    monkeypatch.setenv('MALLOC_TOP_PAD_', '131072')
    assert not keep_freed_memory('cpu')
