"""tools/export_onnx.py: RetinaNet from a checkpoint to two graphs that are compared with PyTorch."""

import re
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from semidff.deployment import Description
from tests.damaged_video import write_video
from tests.tiny_video import build, test_settings, video_detector_cfg, write_videos

TOOL = Path(__file__).resolve().parents[2] / 'tools/export_onnx.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A video, a config and checkpoints."""
    folder = tmp_path_factory.mktemp('export')
    settings = test_settings(write_videos(folder, (1,)), folder / 'work')
    Config(settings).dump(folder / 'config.py')
    Config(dict(settings, model=video_detector_cfg(temporal=False))).dump(folder / 'one.py')
    torch.save(
        dict(state_dict=build(video_detector_cfg(), seed=3).state_dict()), folder / 'two.pth'
    )
    write_video(folder / 'in.mp4', 3, fps=12.5, size=(96, 64))
    return folder


@pytest.fixture
def export(folder, monkeypatch, capsys):
    """Runs the tool in the folder of the video; exit status or message, and what it printed."""

    def run(*arguments: str) -> tuple[str | int | None, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr('sys.argv', ['export_onnx.py', *arguments])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_export_and_verify(folder, export):
    pytest.importorskip('onnxscript', reason="needs the extra 'onnx'")
    pytest.importorskip('onnxruntime', reason="needs the extra 'onnx'")
    arguments = ('config.py', 'two.pth', '--out', 'exported', '--video', 'in.mp4', '--verify')
    code, printed = export(*arguments)
    assert code == 0, printed
    for line in (
        'frames enter as 1 x 3 x 64 x 96',
        'key.onnx cls_scores_2',
        'non_key.onnx bbox_preds_0',
    ):
        assert line in printed
    last = printed.splitlines()[-1]
    assert last.startswith('after NMS, 3 frames: ')
    assert 'of which 0 have no counterpart' in last and last.endswith('; 0 the other way round')
    assert Description.read(folder / 'exported').strides == [8, 16, 32]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('config.py', 'none.pth'), 'no such checkpoint file'),
        (('one.py', 'two.pth'), 'no temporal module'),
        (
            ('config.py', 'two.pth', '--video', 'in.mp4', '--shape', '64', '64'),
            'leave the test pipeline as 64 x 96, not as 64 x 64',
        ),
        (('config.py', 'two.pth', '--video', 'none.mp4'), 'none.mp4'),
    ],
)
def test_bad_input(export, arguments, message):
    code, _ = export(*arguments, '--out', 'nothing')
    assert isinstance(code, str) and code.startswith('tools/export_onnx.py: ')
    assert re.search(message, code), code
    assert not Path('nothing').exists()
