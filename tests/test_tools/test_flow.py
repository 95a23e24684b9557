"""Flow pre-training on the command line: trained, validated, and tested on the other split."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 96)


@pytest.fixture
def chairs(tmp_path):
    """Six pairs that move by (4, -2) pixels as a whole; the last two are for validation."""
    folder = tmp_path / 'data'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(1, 7):
        picture = cv2.resize(rng.integers(0, 255, (16, 24, 3), np.uint8), SIZE[::-1])
        cv2.imwrite(str(folder / f'{number:05d}_img1.ppm'), picture)
        cv2.imwrite(str(folder / f'{number:05d}_img2.ppm'), np.roll(picture, (-2, 4), (0, 1)))
        flow = np.full((*SIZE, 2), (4, -2), np.float32)
        cv2.writeOpticalFlow(str(folder / f'{number:05d}_flow.flo'), flow)
    (tmp_path / 'FlyingChairs_train_val.txt').write_text('1\n1\n1\n1\n2\n2\n')
    return tmp_path


@pytest.fixture
def config(chairs):
    """The config of FlowNetS on Flying Chairs, with its own pipeline and schedule, made small."""
    cfg = Config.fromfile(ROOT / 'configs/flow/flownet-s_flying-chairs.py')
    cfg.model.temporal.flow_network.width = 1 / 32
    cfg.model.temporal.feat_channels = 4
    cfg.train_dataloader.dataset.dataset.pipeline[1].crop_size = (32, 64)
    cfg.train_dataloader.dataset.dataset.data_root = str(chairs)
    for name in ('val_dataloader', 'test_dataloader'):
        cfg[name].dataset.data_root = str(chairs)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[name].update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_iters=2, val_interval=1)
    cfg.visualizer.vis_backends = []
    path = chairs / 'config.py'
    cfg.dump(path)
    return path


def test_train_and_test(config, chairs, run):
    run('train.py', config, '--work-dir', chairs / 'out')
    assert 'flow/EPE' in next((chairs / 'out').glob('*/*.log')).read_text()
    checkpoint, result = chairs / 'out' / 'last.pth', chairs / 'result.json'
    options = ('--work-dir', chairs / 'test', '--metrics-out', result)
    run('test.py', config, checkpoint, *options)
    metrics = json.loads(result.read_text())
    assert metrics['flow/EPE_zero'] == pytest.approx(20**0.5, rel=1e-5)
    assert metrics['flow/reduction'] == pytest.approx(
        1 - metrics['flow/EPE'] / metrics['flow/EPE_zero']
    )
