"""SFF on any detector: nothing to train, strides found out, the model left as it is."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.analysis.smooth_video import smooth_frames
from semidff.inference import VideoEngine
from semidff.models import VideoDetector
from tests import models
from tests.test_inference.test_video_engine import same, walk
from tests.tiny_video import (
    batch,
    build,
    detector_cfg,
    test_settings,
    video_detector_cfg,
    write_videos,
)

ROOT = Path(__file__).resolve().parents[3]

PREPROCESSOR = dict(
    type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=32
)

(CANVAS,) = smooth_frames(1, 192, 288)


def detector(kind: str) -> torch.nn.Module:
    """A tiny image detector."""
    model = models.build(dict(models.KINDS[kind][0](), data_preprocessor=PREPROCESSOR))
    return model.eval()


def pan(index: int) -> dict:
    """A test batch of a frame that lies 8 * index pixels further right in a texture."""
    data = batch(0, index)
    picture = CANVAS[:, 8 * index : 8 * index + 256].transpose(2, 0, 1)
    data['inputs'] = [torch.from_numpy(np.ascontiguousarray(picture))]
    data['data_samples'][0].set_metainfo(dict(img_shape=(192, 256), ori_shape=(192, 256)))
    return data


@pytest.mark.parametrize('kind', models.KINDS)
def test_carries_the_features_of_any_detector(kind):
    engine = VideoEngine(detector(kind), 'sff-fast')
    spatial = engine.model.spatial
    carried = []
    engine.method.model.temporal.register_forward_hook(lambda m, i, out: carried.append(out))
    for index in range(5):
        engine.push(pan(index))
    assert engine.method.model.temporal.feat_strides == models.KINDS[kind][2]
    inputs = [engine.model.data_preprocessor(pan(i))['inputs'] for i in (0, 4)]
    with torch.no_grad():
        key, true = (spatial.features(x) for x in inputs)
    for old, new, expected in zip(key, carried[3], true, strict=True):
        rows, columns = (slice(side // 4, -(side // 4)) for side in old.shape[-2:])
        inside = (..., rows, columns)
        error = (new - expected)[inside].abs().mean()
        assert error < 0.35 * (old - expected)[inside].abs().mean()


@pytest.mark.parametrize('method', ['sff-fast', 'sff-slow'])
def test_video_detectors_own_temporal_module_is_left_alone(method):
    model = build(video_detector_cfg())
    own = model.temporal
    before = walk(VideoEngine(model, 'propagate', key_interval=4))
    results = walk(VideoEngine(model, method, key_interval=4))
    plain = VideoDetector(model.spatial.detector, data_preprocessor=model.data_preprocessor)
    alone = walk(VideoEngine(plain, method, key_interval=4))
    assert all(same(a, b) for a, b in zip(results, alone, strict=True))
    assert model.temporal is own
    after = walk(VideoEngine(model, 'propagate', key_interval=4))
    assert all(same(a, b) for a, b in zip(before, after, strict=True))


def test_normalization_is_that_of_the_detector():
    flows = []
    for settings in (
        dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
        dict(mean=[103.0, 116.0, 123.0], std=[1.0, 1.0, 1.0]),
        dict(),
    ):
        cfg = dict(detector_cfg(), data_preprocessor=dict(type='DetDataPreprocessor', **settings))
        engine = VideoEngine(build(cfg), 'sff-fast', keep_fields=True)
        engine.push(pan(0))
        flows.append(engine.push(pan(2))[0].feature_flow)
    # 16 pixels are one cell: the key frame's content lies to the right of where it is now
    assert flows[0][0, 2:-2, 2:-2].mean() == pytest.approx(1, abs=0.05)
    for flow in flows[1:]:
        assert (flow - flows[0]).abs().mean() < 0.01


def test_command_line_with_stage_one_weights_only(tmp_path, monkeypatch):
    """``tools/test.py --method sff-fast`` on an image detector's config and checkpoint, rendered."""
    settings = test_settings(write_videos(tmp_path, (5,)), tmp_path / 'work')
    settings['model'] = detector_cfg()
    settings['experiment_name'] = 'sff'
    Config(settings).dump(tmp_path / 'config.py')
    weights = build(detector_cfg(), seed=3).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'one.pth')
    argv = ['test.py', tmp_path / 'config.py', tmp_path / 'one.pth', '--method', 'sff-fast']
    argv += ['--render', tmp_path / 'videos', '--metrics-out', tmp_path / 'metrics.json']
    monkeypatch.setattr(sys, 'argv', [str(argument) for argument in argv])
    runpy.run_path(str(ROOT / 'tools' / 'test.py'), run_name='__main__')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['time/non_key_ms'] > 0 and 'vid/mAP' in metrics
    assert [p.name for p in (tmp_path / 'videos').iterdir()] == ['clips_v0.mp4']


def test_logits_are_not_taken_for_zero_outside_the_key_frame():
    """A logit of zero is a score of one half."""
    model = VideoDetector(detector('retinanet'), split=dict(type='OutputSplit'))
    assert VideoEngine(model, 'sff-fast').method.model.temporal.padding == 'border'
