"""The tools with a detector that a config names: what a training stores needs neither its config
nor its checkpoint.
"""

import json
import re

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from semidff.apis import VideoInferencer
from semidff.checkpoints.detectors import read_detector
from semidff.checkpoints.read import read_checkpoint
from tests.damaged_video import write_video
from tests.processes import TOOLS, call
from tests.tiny import training
from tests.tiny.videos import (
    CLASSES,
    SIZE,
    build,
    frame,
    test_settings,
    write_detector,
    write_videos,
)

STEPS = [dict(step, iters=1) for step in training.STEPS]
IMAGES = [frame(0, index) for index in range(3)]


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """Stage one as files, a stage-two config that names them, and its training; stage one is
    deleted then.
    """
    folder = tmp_path_factory.mktemp('project')
    detector = write_detector(folder)
    model = dict(
        type='SemiDFF',
        detector=str(folder / 'detector.py'),
        checkpoint=str(folder / 'one.pth'),
        split=dict(type='OutputSplit'),
        temporal=dict(type='TemporalModule', flow_network=dict(type='FlowNetS', width=1 / 16)),
    )
    videos = training.write_videos(folder)
    cfg = training.config(videos, folder / 'run', STEPS, model=model)
    cfg.dump(folder / 'config.py')
    without_training = VideoInferencer(
        str(folder / 'config.py'), method='copy', device='cpu', show_progress=False
    )
    first = list(without_training(IMAGES))
    call('train.py', folder / 'config.py', '--work-dir', folder / 'run')
    (folder / 'one.pth').unlink()
    (folder / 'stage_one').mkdir()
    (folder / 'detector.py').rename(folder / 'stage_one' / 'detector.py')
    return folder, detector, without_training, first


def test_the_detector_runs_before_any_training(project):
    _, detector, inferencer, first = project
    own = inferencer.model.spatial.detector.state_dict()
    assert all(torch.equal(own[key], value) for key, value in detector.state_dict().items())
    assert inferencer.model.dataset_meta['classes'] == CLASSES
    assert len(first) == 3 and len(first[0].pred_instances)


def test_stage_two_starts_from_the_checkpoint(project):
    folder, detector, *_ = project
    stored, meta = read_checkpoint(folder / 'run' / 'iter_2.pth')
    assert meta['dataset_meta']['classes'] == CLASSES
    for key, value in detector.state_dict().items():
        if key.startswith(('backbone', 'neck')):
            assert torch.equal(stored[f'spatial.detector.{key}'], value)


def test_a_run_is_resumed_without_stage_one_and_warns_of_nothing(project, tmp_path, recwarn):
    """The third step does not log the losses of the first one, and videos have no classes."""
    folder, *_ = project
    config = Config.fromfile(folder / 'run' / 'config.py')
    config.train_cfg.steps.append(dict(config.train_cfg.steps[1], name='further'))
    config.experiment_name = 'further'  # mmengine's loggers are named by it and the second
    config.dump(tmp_path / 'config.py')
    checkpoint = folder / 'run' / 'iter_2.pth'
    arguments = ('--work-dir', tmp_path / 'more', '--resume', checkpoint)
    call('train.py', tmp_path / 'config.py', *arguments)
    _, meta = read_checkpoint(tmp_path / 'more' / 'iter_3.pth')
    assert meta['dataset_meta']['classes'] == CLASSES
    logs = [log.read_text() for log in (tmp_path / 'more').glob('*/*.log')]
    assert logs and 'WARNING' not in ''.join(logs) and not recwarn.list


def test_evaluation_and_measurements(project, tmp_path, capsys):
    """They get the config that names the files, of which the checkpoint is gone."""
    folder, *_ = project
    (folder / 'stage_one' / 'detector.py').rename(folder / 'detector.py')
    settings = test_settings(write_videos(tmp_path, (3,)), tmp_path / 'work')
    settings['model'] = Config.fromfile(folder / 'config.py').model
    Config(settings).dump(tmp_path / 'config.py')
    weights = folder / 'run' / 'iter_2.pth'
    call('test.py', tmp_path / 'config.py', weights, '--metrics-out', tmp_path / 'm')
    assert json.loads((tmp_path / 'm').read_text())
    write_video(tmp_path / 'in.mp4', 4, size=SIZE)
    call(
        'analysis/speed.py',
        *(folder / 'config.py', weights, '--video', tmp_path / 'in.mp4', '--key-interval', 2),
        *('--device', 'cpu', '--rounds', 1),
    )
    size = '--size', 64, 96
    call('analysis/complexity.py', folder / 'config.py', *size, '--key-intervals', 10)
    assert 's (DFF Eq. 7) at l = 10' in capsys.readouterr().out


def test_the_config_in_the_documentation(monkeypatch, tmp_path):
    """It trains RTMDet, here on small frames; the result predicts with the detector's own pipeline
    and classes.
    """
    page = (TOOLS.parent / 'docs' / 'training.md').read_text()
    (text,) = re.findall(r'```python\n(_base_ = .*?)```', page, re.DOTALL)
    videos, weights = training.write_videos(tmp_path), tmp_path / 'rtmdet.pth'
    changes = {
        "'../_base_": f"'{TOOLS.parent}/configs/_base_",
        'rtmdet_tiny.pth': str(weights),
        'my_data/unlabeled.txt': str(videos),
        '(640, 640)': '(64, 64)',
        'iters=1200': 'iters=1',
        'iters=3000': 'iters=1',
        'num_workers=2': 'num_workers=0',
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / 'config.py').write_text(text)
    detector = build(read_detector('rtmdet-t', warn=False).model)
    torch.save(dict(state_dict=detector.state_dict()), weights)
    call('train.py', tmp_path / 'config.py', '--work-dir', tmp_path / 'run')
    write_video(tmp_path / 'in.mp4', 2, size=SIZE)
    arguments = ('in.mp4', 'config.py', 'run/last.pth', '--json', 'out.json', '--device', 'cpu')
    monkeypatch.chdir(tmp_path)
    call('video_demo.py', *arguments)
    written = json.loads((tmp_path / 'out.json').read_text())
    names = [category['name'] for category in written['categories']]
    assert tuple(names) == CocoDataset.METAINFO['classes'] and len(written['images']) == 2
