"""tools/analysis/show_propagation.py: from a video to a figure."""

import runpy
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config

from tests.damaged_video import write_video
from tests.tiny_video import build, test_settings, video_detector_cfg, write_videos

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'analysis' / 'show_propagation.py'


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A video, configs and checkpoints; one without temporal module, one without scale field."""
    folder = tmp_path_factory.mktemp('show')
    settings = test_settings(write_videos(folder, (1,)), folder / 'work')
    alone, unscaled = (test_settings(folder / 'val.json', folder / 'work') for _ in range(2))
    alone['model'] = video_detector_cfg(temporal=False)
    unscaled['model']['temporal']['with_scale'] = False
    for name, cfg in (('two', settings), ('alone', alone), ('unscaled', unscaled)):
        Config(cfg).dump(folder / f'{name}.py')
        torch.save(
            dict(state_dict=build(cfg['model'], seed=3).state_dict()), folder / f'{name}.pth'
        )
    write_video(folder / 'in.mp4', 12, fps=12.5, size=(96, 64))
    return folder


@pytest.fixture
def show(project, monkeypatch, capsys):
    """Runs the tool in the folder of the video; exit status or message, and what it printed."""

    def run(model: str, *arguments: str) -> tuple[str | int | None, str]:
        monkeypatch.chdir(project)
        given = (f'{model}.py', f'{model}.pth', *arguments, '--device', 'cpu')
        monkeypatch.setattr('sys.argv', ['show_propagation.py', *given])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


def test_a_figure_of_two_pairs(project, show):
    options = ('--key', '5', '--current', '8', '2', '--out', 'p.png', '--arrows', '--level', '1')
    code, printed = show('two', 'in.mp4', *options)
    assert code == 0
    height, width = cv2.imread(str(project / 'p.png')).shape[:2]
    assert width > 1500 and height > 1000
    lines = printed.splitlines()[-3:]
    assert lines[0].startswith('key frame 5, current frame 8 (+3): motion ')
    assert lines[1].startswith('key frame 5, current frame 2 (-3): motion ')
    assert lines[2] == 'Written: p.png'


def test_without_a_scale_field(show):
    code, printed = show('unscaled', 'in.mp4', '--key', '0', '--current', '1', '--out', 'u.png')
    assert code == 0 and '|S - 1| -' in printed


@pytest.mark.parametrize(
    ('model', 'words'),
    [('alone', 'needs a temporal module'), ('gone', 'gone.py: there is no such config')],
)
def test_bad_input_is_reported(show, model, words):
    code, _ = show(model, 'in.mp4', '--key', '0', '--current', '1', '--out', 'no.png')
    assert str(code).startswith('tools/analysis/show_propagation.py: ') and words in code


def test_a_temporal_module_without_flow_is_refused(project):
    from semidff.apis import VideoInferencer
    from semidff.inference import MethodError
    from semidff.visualization.propagation import view_frames

    inferencer = VideoInferencer(str(project / 'two.py'), str(project / 'two.pth'), 'cpu')
    inferencer.model.temporal = torch.nn.Identity()
    with pytest.raises(MethodError, match='Identity has no feature flow'):
        view_frames(inferencer.model, inferencer.preprocess, project / 'in.mp4', 0, [1])
