"""What needs a process of its own: a limit of the size of files, and closed streams."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.robustness.project import make_project
from tests.robustness.verdict import SECONDS, TOOLS

ROOT = TOOLS.parent
# Runs tools one after the other in one process, with a limit of the size of files; prints a line of JSON for each.
SERIES = """
import json, os, resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
report = os.fdopen(os.dup(1), 'w')
for limit, tool, arguments in json.loads(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    sys.argv = [tool, *arguments]
    code = 0
    try:
        runpy.run_path(tool, run_name='__main__')
    except SystemExit as end:
        code = end.code
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    print(json.dumps(code), file=report, flush=True)
"""
VIDEO = ('in.mp4', 'config.py', 'two.pth', '--device', 'cpu')
FULL = (
    (1000, 'video_demo.py', (*VIDEO, '--out', 'a.mp4'), 'a.mp4'),
    (3000, 'video_demo.py', (*VIDEO, '--out', 'a.mp4'), 'a.mp4'),
    (1000, 'video_demo.py', (*VIDEO, '--json', 'a.json'), 'a.json'),
    (1000, 'video_demo.py', (*VIDEO, '--txt', 'a.txt'), 'a.txt'),
    (100, 'analysis/complexity.py',
     ('config.py', '--size', '64', '96', '--json', 'c.json', '--device', 'cpu'), 'c.json'),
    (4000, 'analysis/show_propagation.py',
     ('config.py', 'two.pth', 'in.mp4', '--key', '0', '--current', '1', '--out', 'p.png', '--device', 'cpu'), 'p.png'),
    (5000, 'model_converters/join_checkpoints.py', ('--part', 'x=two.pth', '--out', 'j.pth'), 'j.pth'),
    (20_000, 'train.py', ('train.py',), 'work/last_checkpoint'),
)  # fmt: skip


def start(command: list[str], folder: Path, **options) -> subprocess.Popen:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen(command, cwd=folder, env=environment, **options)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('process') / 'project'
    make_project(folder)
    return folder


def test_a_full_disk_is_an_error_and_leaves_nothing(project):
    series = [(limit, str(TOOLS / tool), arguments) for limit, tool, arguments, _ in FULL]
    command = [sys.executable, '-c', SERIES, json.dumps(series)]
    process = start(command, project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate(timeout=4 * SECONDS)
    assert process.returncode == 0, errors[-2000:]
    codes = [
        json.loads(line) for line in output.splitlines() if line.startswith('"') or line == '0'
    ]
    assert len(codes) == len(FULL), output
    for code, (limit, tool, _, product) in zip(codes, FULL, strict=True):
        assert isinstance(code, str) and 'error: ' in code, f'{tool}, {limit} bytes: {code}'
        assert not (project / product).exists(), f'{tool}: {product}'
    assert not list(project.rglob('*.tmp*'))


@pytest.mark.parametrize('closed', ['>&- 2>&- <&-', '> /dev/full'])
def test_closed_streams_spoil_no_file(project, closed):
    out = f'o{len(closed)}.json'
    shell = f'exec {sys.executable} {TOOLS}/video_demo.py {" ".join(VIDEO)} --json {out} {closed}'
    process = start(['bash', '-c', shell], project, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    _, errors = process.communicate(timeout=2 * SECONDS)
    assert process.returncode in (0, 1, 120), errors[-500:]
    assert b'Traceback' not in errors, errors[-2000:]
    if process.returncode == 0:
        assert len(json.loads((project / out).read_text())['images']) == 6
