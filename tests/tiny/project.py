"""A small project, copied for each case: configs, weights, videos, annotations, a user's files."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from tests.damaged_video import write_video
from tests.tiny import training
from tests.tiny.videos import SIZE, build, test_settings, video_detector_cfg, write_videos

EXPERIMENT = """
work_dir = 'out'
steps = []
rows = [dict(name='frame', config='config.py', checkpoint='two.pth', method='frame')]
key_intervals = [2]
"""


def make_project(folder: Path) -> None:
    """Write the project; all paths in it are relative."""
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _make()


def _make() -> None:
    for name in ('images', 't', 'mine', 'sub'):
        Path(name).mkdir()
    write_videos(Path('images'), (3, 2))
    settings = test_settings(Path('images/val.json'), Path('work'))
    Config(dict(settings, log_level='WARNING')).dump('config.py')
    state = build(video_detector_cfg(), seed=3).state_dict()
    torch.save(dict(state_dict=state), 'two.pth')
    write_video(Path('in.mp4'), 6, fps=12.5, size=SIZE)
    training.write_videos(Path('t'), 1, 6)
    training.config(Path('t/videos.txt'), Path('work')).dump('train.py')
    Path('exp.py').write_text(EXPERIMENT)
    Path('mine/key.onnx').write_text('mine')
    Path('notes.txt').write_text('buy milk\n')


def contents(folder: Path) -> dict[str, bytes]:
    """Return what every file of a folder is and holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b''
        for path in folder.rglob('*')
    }
