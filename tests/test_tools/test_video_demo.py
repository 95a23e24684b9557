"""tools/video_demo.py: one command from a video to its annotated copy."""

import json
import os
import runpy
import signal
from collections import OrderedDict
from pathlib import Path
from statistics import median

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from semidff.datasets.video_readers import open_stream
from semidff.evaluation import evaluate_detections_file
from semidff.inference.outputs import VideoOutput
from tests.damaged_video import write_video
from tests.tiny_video import build, test_settings, video_detector_cfg, write_videos

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'video_demo.py'


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A video, a config and a checkpoint."""
    folder = tmp_path_factory.mktemp('demo')
    Config(test_settings(write_videos(folder, (1,)), folder / 'work')).dump(folder / 'config.py')
    state = build(video_detector_cfg(), seed=3).state_dict()
    torch.save(dict(state_dict=state), folder / 'two.pth')
    write_video(folder / 'in.mp4', 25, fps=12.5, size=(96, 64))
    return folder


@pytest.fixture
def demo(project, monkeypatch, capsys):
    """Runs the tool in the folder of the video; exit status or message, and what it printed."""

    def run(*arguments: str) -> tuple[str | int | None, str]:
        monkeypatch.chdir(project)
        monkeypatch.setattr('sys.argv', ['video_demo.py', *arguments, '--device', 'cpu'])
        handler = signal.getsignal(signal.SIGINT)
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        finally:
            signal.signal(signal.SIGINT, handler)
        return 0, capsys.readouterr().out

    return run


def test_from_video_to_video(project, demo):
    files = ('--out', 'out.mp4', '--json', 'out.json', '--txt', 'out.txt')
    options = ('--key-interval', '5', '--panels', 'scale')
    code, printed = demo('in.mp4', 'config.py', 'two.pth', *files, *options)
    assert code == 0
    last = printed.splitlines()[-1]
    assert last.startswith('25 frames, 5 key frames, ')
    assert last.endswith('fps from reading to writing: out.mp4, out.json, out.txt')
    drawn = open_stream(project / 'out.mp4')
    assert drawn.mean_rate() == pytest.approx(12.5)
    assert [frame.image.shape for frame in drawn] == [(64, 192, 3)] * 25
    assert len(json.loads((project / 'out.json').read_text())['images']) == 25
    assert (project / 'out.txt').read_text().startswith('1 ')


def test_options(project, demo):
    options = ('--method', 'frame', '--max-frames', '4', '--fps', '5', '--score-thr', '1')
    code, printed = demo('in.mp4', 'config.py', 'two.pth', '--out', 'few.mp4', *options)
    assert code == 0 and '4 frames, 4 key frames' in printed
    drawn = open_stream(project / 'few.mp4')
    assert drawn.mean_rate() == 5 and len(list(drawn)) == 4


def test_evaluates_methods_without_labels(project, demo):
    """The full detector's json as reference: it agrees with itself, and less with its results repeated."""
    inputs = ('in.mp4', 'config.py', 'two.pth')
    demo(*inputs, '--method', 'frame', '--json', 'full.json', '--txt', 'frame.txt')
    demo(*inputs, '--method', 'copy', '--txt', 'copy.txt')
    scores = [
        box['score'] for box in json.loads((project / 'full.json').read_text())['annotations']
    ]
    agreement = {
        name: evaluate_detections_file(
            project / 'full.json',
            project / f'{name}.txt',
            project / 'r.json',
            min_score=median(scores),
        ).summary['mAP_classes_with_ground_truth']
        for name in ('frame', 'copy')
    }
    assert agreement['frame'] > 0.99 > agreement['copy']


def test_speed_options(project, demo):
    options = ('--precision', 'bf16', '--channels-last', '--read-ahead', '2', '--json', 'bf16.json')
    code, printed = demo('in.mp4', 'config.py', 'two.pth', *options)
    assert code == 0 and '25 frames, 3 key frames' in printed
    demo('in.mp4', 'config.py', 'two.pth', '--json', 'fp32.json')
    some, others = (
        [box['score'] for box in json.loads((project / name).read_text())['annotations']][:20]
        for name in ('bf16.json', 'fp32.json')
    )
    assert some == pytest.approx(others, abs=0.03) and some != others


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_complete_files(project, demo, monkeypatch, number):
    add = VideoOutput.add

    def interrupted(self, sample, image):
        add(self, sample, image)
        if sample.frame_id == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(VideoOutput, 'add', interrupted)
    code, printed = demo('in.mp4', 'config.py', 'two.pth', '--out', 'stopped.mp4', '--overwrite')
    assert code == 0 and '3 frames, 1 key frames' in printed
    assert len(list(open_stream(project / 'stopped.mp4'))) == 3


def test_camera_that_cannot_be_opened_is_reported(demo):
    code, _ = demo('987', 'config.py', 'two.pth')
    assert str(code).startswith('tools/video_demo.py: ') and 'camera 987: cannot be opened' in code


def test_an_archive_notices_changes_of_the_configs_bases(project, demo):
    (project / 'videos').mkdir()
    write_video(project / 'videos' / 'a.mp4', 6, fps=12.5, size=(96, 64))
    config = Config.fromfile(project / 'config.py')
    config.dump(project / 'base.py')
    (project / 'child.py').write_text("_base_ = 'base.py'\n")
    arguments = ('videos', 'child.py', 'two.pth', '--out', 'results.2026', '--no-video')
    for _ in range(2):
        code, printed = demo(*arguments)
        assert code == 0 and '1 of 1 videos' in printed
    config.model.detector.test_cfg.max_per_img = 5
    config.dump(project / 'base.py')
    code, _ = demo(*arguments)
    assert 'holds results of other settings (config_digest; a.mp4)' in code


def test_an_archive_may_have_more_processes_than_gpus(project, demo, monkeypatch):
    (project / 'one').mkdir()
    write_video(project / 'one' / 'a.mp4', 6, fps=12.5, size=(96, 64))
    visible = ['0']
    monkeypatch.setattr(
        'mmengine.logging.logger._get_device_id', lambda: visible[int(os.getenv('LOCAL_RANK', 0))]
    )
    monkeypatch.setattr(MMLogger, '_instance_dict', OrderedDict())  # a new one, as in a process
    monkeypatch.setenv('LOCAL_RANK', '1')
    code, printed = demo('one', 'config.py', 'two.pth', '--out', 'results', '--no-video')
    assert code == 0 and '1 of 1 videos' in printed


@pytest.mark.parametrize('schedule', [(), ('--scene-cuts',)])
def test_key_intervals_are_positive(demo, schedule):
    code, _ = demo('in.mp4', 'config.py', 'two.pth', '--key-interval', '0', *schedule)
    assert 'the key-frame interval is 0; it must be an integer >= 1' in code
