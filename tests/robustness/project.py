"""A small project, copied for each case: configs, weights, videos, annotations, files of the user that must stay."""

import os
from pathlib import Path

import cv2
import torch
from mmengine.config import Config

from tests import stage_two
from tests.damaged_video import write_video
from tests.tiny_video import SIZE, build, frame, test_settings, video_detector_cfg, write_videos

EXPERIMENT = """
work_dir = 'out'
steps = []
rows = [dict(name='frame', config='config.py', checkpoint='two.pth', method='frame')]
key_intervals = [2]
"""
MINE = ('key.onnx', 'last.pth', 'iter_1.pth')


def make_project(folder: Path) -> None:
    """Write the project; all paths in it are relative."""
    here = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        _make()
    finally:
        os.chdir(here)


def _make() -> None:
    for name in ('images', 'frames', 't', 'mine', 'sub'):
        Path(name).mkdir()
    write_videos(Path('images'), (3, 2))
    settings = test_settings(Path('images/val.json'), Path('work'))
    Config(dict(settings, log_level='WARNING')).dump('config.py')
    state = build(video_detector_cfg(), seed=3).state_dict()
    torch.save(dict(state_dict=state), 'two.pth')
    write_video(Path('in.mp4'), 6, fps=12.5, size=SIZE)
    for number in range(3):
        cv2.imwrite(f'frames/{number:03d}.png', frame(0, number))
    stage_two.write_videos(Path('t'), 1, 6)
    stage_two.config(Path('t/videos.txt'), Path('work')).dump('train.py')
    Path('videos.txt').write_text('in.mp4\nframes\n')
    Path('exp.py').write_text(EXPERIMENT)
    for name in MINE:
        Path('mine', name).write_text('mine')
    Path('package.json').write_text('{"name": "mine", "version": "3"}')
    Path('notes.txt').write_text('buy milk\n')
    os.symlink('in.mp4', 'link.mp4')
    os.symlink('two.pth', 'link.pth')
