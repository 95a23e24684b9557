"""How many threads compute."""

from threading import Thread

import pytest
import torch

from semidff.utils.threads import (
    THREAD_VARIABLES,
    default_workers,
    torch_threads,
    use_idle_cores,
    worker_threads,
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


def counts() -> list[int]:
    """PyTorch's threads here, and in a new thread."""
    found = [torch.get_num_threads()]
    thread = Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found


def test_other_threads_keep_their_number():
    """Also those that start while workers run, and those that workers start."""
    with torch_threads(4):
        with worker_threads(2) as first, worker_threads(1, share=3) as second:
            assert counts() == [4, 4]
            assert first.submit(counts).result() == [2, 4]
            assert second.submit(counts).result() == [3, 4]
            assert first.submit(use_workers).result() == [1, 4]
            assert counts() == [4, 4]
        assert counts() == [4, 4]


def use_workers() -> list[int]:
    with worker_threads(2) as pool:
        return pool.submit(counts).result()
