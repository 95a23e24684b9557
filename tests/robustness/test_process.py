"""A full disk and interruptions, which need a process of their own."""

import json
import os
import resource
import runpy
import signal
import sys
from pathlib import Path

import pytest

from tests.encoded_video import packet_times
from tests.processes import TOOLS, start
from tests.tiny.project import make_project
from tests.tiny.videos import frame

VIDEO = ('in.mp4', 'config.py', 'two.pth', '--device', 'cpu')
FULL = (
    (3000, 'video_demo.py', (*VIDEO, '--out', 'a.mp4'), 'a.mp4'),
    (1000, 'video_demo.py', (*VIDEO, '--json', 'a.json', '--txt', 'a.txt'), 'a.json'),
    (5000, 'convert_checkpoint.py', ('join', '--part', 'x=two.pth', '--out', 'j.pth'), 'j.pth'),
    (20_000, 'train.py', ('train.py',), 'work/last_checkpoint'),
)


def run_with_limits() -> None:
    """Run the tools with limits of the size of files; write their exit codes as JSON."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.dont_write_bytecode = True  # the files would be cut, and imported by later tests
    codes = []
    for limit, tool, arguments, _ in FULL:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        sys.argv = [str(TOOLS / tool), *arguments]
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
            codes.append(0)
        except SystemExit as end:
            codes.append(end.code)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    Path('codes.json').write_text(json.dumps(codes))


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('process') / 'project'
    make_project(folder)
    return folder


def test_a_full_disk_is_an_error_and_leaves_nothing(project, monkeypatch):
    monkeypatch.chdir(project)
    process = start(run_with_limits, output=Path('/dev/null'))
    process.join(240)
    assert process.exitcode == 0
    codes = json.loads(Path('codes.json').read_text())
    for code, (limit, tool, _, product) in zip(codes, FULL, strict=True):
        assert isinstance(code, str) and 'error: ' in code, f'{tool}, {limit} bytes: {code}'
        assert not (project / product).exists(), f'{tool}: {product}'
    assert not list(project.rglob('*.tmp*'))


ENDS = ('interrupt', 'terminate', 'error')


def run_a_program(end: str) -> None:
    """Detect in frames of a camera until a signal or an error ends the program."""
    from semidff.apis import VideoInferencer

    def camera():
        for index in range(100):
            if index == 7 and end != 'error':
                os.kill(os.getpid(), signal.SIGINT if end == 'interrupt' else signal.SIGTERM)
            yield frame(0, index)

    inferencer = VideoInferencer('config.py', 'two.pth', device='cpu', show_progress=False)
    results = inferencer(camera(), out_video=f'{end}.mp4', out_json=f'{end}.json')
    for sample in results:
        if end == 'error' and sample.frame_id == 6:
            raise LookupError('of the program')


@pytest.mark.parametrize('end', ENDS)
def test_a_program_keeps_its_results(project, monkeypatch, end):
    monkeypatch.chdir(project)
    process = start(run_a_program, end, output=Path(f'{end}.txt'))
    process.join(120)
    assert process.exitcode == (143 if end == 'terminate' else 1)
    said = Path(f'{end}.txt').read_text()
    assert f'{end}.mp4, {end}.json: complete: false, 7 frames' in said
    content = json.loads(Path(f'{end}.json').read_text())
    assert (content['complete'], len(content['images'])) == (False, 7)
    assert len(packet_times(Path(f'{end}.mp4'))) == 7
