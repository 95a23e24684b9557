"""tools/video_demo.py: one command from a video to its annotated copy."""

import json
import os
import signal

import pytest
from mmengine.config import Config

from semidff.datasets.video_readers import open_any
from semidff.inference.outputs import VideoOutput
from tests.damaged_video import write_video

CPU = ('--device', 'cpu')
DETECTOR = ('config.py', 'two.pth', *CPU)
DEMO = ('video_demo.py', 'in.mp4', *DETECTOR)


def test_from_video_to_video(project, run):
    files = ('--out', 'out.mp4', '--json', 'out.json', '--txt', 'out.txt', '--mot', 'mot.txt')
    options = ('--key-interval', '5', '--panels', 'scale', '--filter', 'identities')
    printed = run(*DEMO, *files, *options)
    last = printed.splitlines()[-1]
    assert last.startswith('25 frames, 5 key frames, ')
    assert last.endswith('fps from reading to writing: out.mp4, out.json, out.txt, mot.txt')
    drawn = open_any(project / 'out.mp4')
    assert drawn.fps == pytest.approx(12.5)
    assert [frame.image.shape for frame in drawn] == [(64, 192, 3)] * 25
    content = json.loads((project / 'out.json').read_text())
    assert len(content['images']) == 25
    assert (project / 'out.txt').read_text().startswith('1 ')
    named = [box['instance_id'] for box in content['annotations'] if 'instance_id' in box]
    rows = [line.split(',') for line in (project / 'mot.txt').read_text().splitlines()]
    assert [int(row[1]) for row in rows] == named and named


def test_options(project, run):
    options = ('--method', 'frame', '--max-frames', '4', '--fps', '5', '--score-thr', '1')
    options = *options, '--serve', '0'
    assert '4 frames, 4 key frames' in run(*DEMO, '--out', 'few.mp4', *options)
    drawn = open_any(project / 'few.mp4')
    assert drawn.fps == 5 and len(list(drawn)) == 4


def test_lines_of_json_on_standard_output(project, run):
    printed = run(*DEMO, '--json', '-', '--live', 'every-frame')
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line['frame_id'] for line in lines] == list(range(25))


@pytest.mark.usefixtures('interruptible')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_what_was_written(project, run, monkeypatch, number):
    add = VideoOutput.add

    def interrupted(self, sample, image):
        if sample.frame_id == 3:
            os.kill(os.getpid(), number)
        add(self, sample, image)

    monkeypatch.setattr(VideoOutput, 'add', interrupted)
    with pytest.raises(SystemExit, match='130'):
        run(*DEMO, '--out', 'stopped.mp4', '--json', 'stopped.json', '--overwrite')
    assert len(list(open_any(project / 'stopped.mp4'))) == 3
    content = json.loads((project / 'stopped.json').read_text())
    assert (content['complete'], len(content['images'])) == (False, 3)


@pytest.fixture
def archive(project, tmp_path):
    """The arguments for a folder with one video."""
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'a.mp4', 6, fps=12.5, size=(96, 64))
    return ('video_demo.py', tmp_path / 'videos', '--out', tmp_path / 'results.2026', '--no-video')


def test_an_archive_notices_changes_of_the_configs_bases(project, run, fails, archive):
    config = Config.fromfile(project / 'config.py')
    config.dump(project / 'base.py')
    (project / 'child.py').write_text("_base_ = 'base.py'\n")
    for _ in range(2):
        assert '1 of 1 videos' in run(*archive, 'child.py', 'two.pth', *CPU)
    config.model.detector.test_cfg.max_per_img = 5
    config.dump(project / 'base.py')
    message = fails(*archive, 'child.py', 'two.pth', *CPU)
    assert 'holds results of other settings (config_digest' in message
