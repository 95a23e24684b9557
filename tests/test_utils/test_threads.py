"""How many threads compute."""

import pytest
import torch

from semidff.utils.threads import (
    THREAD_VARIABLES,
    default_workers,
    torch_threads,
    use_idle_cores,
)


@pytest.mark.parametrize(
    ('busy', 'threads'), [((0, 3, 2, 100), 4), ((100, 0, 0, 40), 3), ((100, 100, 90, 0), 1)]
)
def test_a_training_takes_the_idle_cores(busy, threads, monkeypatch):
    monkeypatch.setattr('psutil.cpu_percent', lambda *_, **__: [*busy, 0.0])
    monkeypatch.setattr('os.sched_getaffinity', lambda _: {0, 1, 2, 4}, raising=False)
    monkeypatch.setenv('OMP_NUM_THREADS', '8')
    with torch_threads(8):
        use_idle_cores()
        assert torch.get_num_threads() == 8  # of OMP_NUM_THREADS
        for name in THREAD_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        use_idle_cores()
        assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ('cores', 'decoding', 'workers'), [(2, 1, 2), (16, 1, 4), (4, 3, 2), (2, 8, 1)]
)
def test_threads_that_decode_take_cores(monkeypatch, cores, decoding, workers):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: cores)
    assert default_workers(decoding) == workers
