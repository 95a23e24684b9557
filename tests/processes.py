"""Tools in this process, in others and in groups as of torchrun, without importing mmdetection in
each again.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from torch.multiprocessing import start_processes

TOOLS = Path(__file__).resolve().parents[1] / 'tools'
# The processes are forks of a server, which imports these once.
FORKS = multiprocessing.get_context('forkserver')
FORKS.set_forkserver_preload(['semidff.registry'])


def call(tool: str | Path, *arguments: object) -> None:
    """Run a tool in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('sys.argv', [str(TOOLS / tool), *map(str, arguments)])
        runpy.run_path(sys.argv[0], run_name='__main__')


def start(function: Callable, *arguments, output: Path) -> BaseProcess:
    """Call a function of a module in a process of its own, in the current folder; a file gets what
    it prints.
    """
    process = FORKS.Process(target=_call, args=(function, arguments, Path.cwd(), output))
    process.start()
    return process


def _call(function: Callable, arguments: Sequence, folder: Path, output: Path) -> None:
    os.chdir(folder)
    os.environ['OMP_NUM_THREADS'] = '1'
    # a shell in the background has its commands ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with output.open('wb') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    function(*arguments)


def run_in_group(
    folder: Path, calls: Sequence[Sequence], processes: int = 2, nodes: int = 1
) -> None:
    """Run tools one after the other, ``[tool, *arguments]`` each, in every process of a group on
    ``nodes`` machines.

    Raises:
        torch.multiprocessing.ProcessException: If a process fails, with its traceback.
        TimeoutError: If they take longer than 10 minutes.
    """
    arguments = (
        free_port(),
        processes,
        nodes,
        folder,
        [[str(part) for part in call] for call in calls],
    )
    group = start_processes(
        _run, arguments, nprocs=processes, join=False, start_method='forkserver'
    )
    deadline = time.monotonic() + 600
    while not group.join(timeout=max(0, deadline - time.monotonic())):
        if time.monotonic() >= deadline:
            for process in group.processes:
                process.kill()
            raise TimeoutError(f'{calls}: not finished after 10 minutes')


def free_port() -> int:
    """Return a port of this machine that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _run(
    rank: int, port: int, processes: int, nodes: int, folder: Path, calls: list[list[str]]
) -> None:
    local = processes // nodes
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank % local), WORLD_SIZE=str(processes),
        LOCAL_WORLD_SIZE=str(local), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
        OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='',
    )  # fmt: skip
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for tool, *arguments in calls:
        sys.argv = [str(TOOLS / tool), *arguments, '--launcher', 'pytorch']
        runpy.run_path(sys.argv[0], run_name='__main__')
