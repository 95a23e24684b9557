"""Propagation from the nearer key frame, and shallow feature flow."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.inference.methods import propagation
from semidff.models import VideoDetector, video_detector
from semidff.synthetic.smooth_video import smooth_frames
from tests.test_inference.test_stages import all_same, count_calls, results_of, same, walk
from tests.tiny import models
from tests.tiny.stages import live, results, stages
from tests.tiny.videos import (
    batch,
    build,
    detector_cfg,
    test_settings,
    video_detector_cfg,
    write_videos,
)

ROOT = Path(__file__).resolve().parents[3]
FRAMES, INTERVAL = 12, 5


def results_at(model, method: str, interval: int = INTERVAL, **options) -> list:
    return walk(stages(model, method, interval, **options), frames=FRAMES)


@torch.no_grad()
def from_key(model, key: int, current: int):
    """A frame's result by way of any other frame."""
    frames = [model.data_preprocessor(batch(0, index), False) for index in (key, current)]
    _, state = model.predict_key(frames[0]['inputs'], frames[0]['data_samples'])
    return model.predict_non_key(frames[1]['inputs'], frames[1]['data_samples'], state)[0]


def test_every_frame_comes_from_the_nearer_key_frame(model):
    results = results_at(model, 'centered')
    # frames 1, 2 from 0; 3, 4 from 5; 6, 7 from 5; 8, 9 from 10; 11 from the last key frame
    nearer = {1: 0, 2: 0, 3: 5, 4: 5, 6: 5, 7: 5, 8: 10, 9: 10, 11: 10}
    for current, key in nearer.items():
        assert same(results[current], from_key(model, key, current), 1e-3), current
        other = key - INTERVAL if key > current else key + INTERVAL
        if 0 <= other < FRAMES:
            assert not same(results[current], from_key(model, other, current), 1e-3), current
    results = results_at(model, 'centered', 4)  # a frame in the middle belongs to the earlier one
    assert same(results[2], from_key(model, 0, 2), 1e-3)
    assert same(results[3], from_key(model, 4, 3), 1e-3)


@pytest.mark.parametrize('size', [2, 3])
@pytest.mark.parametrize('method', ['propagate', 'centered', 'sff-fast'])
def test_chunks_change_nothing(model, method, size):
    chunked = stages(model, method, INTERVAL)
    sizes = count_calls(chunked.method.executor.temporal.flow_network)
    found = results(chunked, (batch(0, index) for index in range(FRAMES)), chunk=size)
    assert [result.frame_id for result in found] == list(range(FRAMES))
    assert max(sizes) == (2 if method == 'centered' else size)
    assert sum(sizes) == FRAMES - 3
    assert all_same(found, results_at(model, method), 1e-3)


def test_large_frames_of_a_chunk_share_the_flow_network_alone(model, monkeypatch):
    monkeypatch.setattr(video_detector, '_FEW_PIXELS', 0)
    flows, sizes = (
        count_calls(part)
        for part in (model.temporal.flow_network, model.spatial.detector.bbox_head)
    )
    found = results(
        stages(model, 'propagate', INTERVAL), (batch(0, index) for index in range(FRAMES))
    )
    assert flows == [4, 4, 1] and len(sizes) == FRAMES
    assert all_same(found, results_at(model, 'propagate'), 1e-3)


def test_a_model_trained_in_one_direction_is_warned_of_once(model, monkeypatch):
    warnings = []
    monkeypatch.setattr(propagation, 'log_warning', warnings.append)
    propagation._warn_of_backward.cache_clear()
    for _ in range(2):
        stages(model, 'centered')
    (text,) = warnings
    assert "'centered'" in text and 'both_directions=True' in text
    monkeypatch.setattr(model, 'both_directions', True)
    propagation._warn_of_backward.cache_clear()
    stages(model, 'centered')
    assert len(warnings) == 1


(CANVAS,) = smooth_frames(1, 192, 288)


def detector(kind: str) -> torch.nn.Module:
    """A tiny image detector."""
    preprocessor = dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3)
    preprocessor['pad_size_divisor'] = 32
    return models.build(dict(models.KINDS[kind][0](), data_preprocessor=preprocessor)).eval()


def pan(index: int) -> dict:
    """A test batch of a frame that lies 8 * index pixels further right in a texture."""
    data = batch(0, index)
    picture = CANVAS[:, 8 * index : 8 * index + 256].transpose(2, 0, 1)
    data['inputs'] = [torch.from_numpy(np.ascontiguousarray(picture))]
    data['data_samples'][0].set_metainfo(dict(img_shape=(192, 256), ori_shape=(192, 256)))
    return data


@pytest.mark.parametrize('kind', models.KINDS)
def test_shallow_flow_carries_the_features_of_any_detector(kind):
    engine = stages(detector(kind), 'sff-fast')
    spatial = engine.model.spatial
    carried = []
    engine.method.executor.model.temporal.register_forward_hook(
        lambda m, i, out: carried.append(out)
    )
    live(engine, [pan(index) for index in range(5)])
    assert engine.method.executor.model.temporal.feat_strides == models.KINDS[kind][2]
    inputs = [engine.model.data_preprocessor(pan(i))['inputs'] for i in (0, 4)]
    with torch.no_grad():
        key, true = (spatial.features(x) for x in inputs)
    for old, new, expected in zip(key, carried[3], true, strict=True):
        rows, columns = (slice(side // 4, -(side // 4)) for side in old.shape[-2:])
        inside = (..., rows, columns)
        error = (new - expected)[inside].abs().mean()
        assert error < 0.35 * (old - expected)[inside].abs().mean()


@pytest.mark.parametrize('method', ['sff-fast', 'sff-slow'])
def test_the_models_own_temporal_module_is_left_alone(method):
    model = build(video_detector_cfg())
    own, before = model.temporal, results_of(model, 'propagate')
    plain = VideoDetector(model.spatial.detector, data_preprocessor=model.data_preprocessor)
    assert all_same(results_of(model, method), results_of(plain, method))
    assert model.temporal is own and all_same(before, results_of(model, 'propagate'))


def test_normalization_is_that_of_the_detector():
    flows = []
    for settings in (
        dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
        dict(mean=[103.0, 116.0, 123.0], std=[1.0, 1.0, 1.0]),
        dict(),
    ):
        cfg = dict(detector_cfg(), data_preprocessor=dict(type='DetDataPreprocessor', **settings))
        engine = stages(build(cfg), 'sff-fast', keep_fields=True)
        flows.append(live(engine, [pan(0), pan(2)])[1].feature_flow)
    # 16 pixels are one cell: the key frame's content lies to the right of where it is now
    assert flows[0][0, 2:-2, 2:-2].mean() == pytest.approx(1, abs=0.05)
    for flow in flows[1:]:
        assert (flow - flows[0]).abs().mean() < 0.01


def test_command_line_with_stage_one_weights_only(tmp_path, monkeypatch):
    """``tools/test.py --method sff-fast`` on an image detector's config and checkpoint,
    rendered."""
    settings = test_settings(write_videos(tmp_path, (5,)), tmp_path / 'work')
    settings.update(model=detector_cfg(), experiment_name='sff')
    Config(settings).dump(tmp_path / 'config.py')
    weights = build(detector_cfg(), seed=3).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'one.pth')
    argv = ['test.py', tmp_path / 'config.py', tmp_path / 'one.pth', '--method', 'sff-fast']
    argv += ['--render', tmp_path / 'videos', '--metrics-out', tmp_path / 'metrics.json']
    monkeypatch.setattr(sys, 'argv', [str(argument) for argument in argv])
    runpy.run_path(str(ROOT / 'tools' / 'test.py'), run_name='__main__')
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['schedule/interval'] == 5 / 2 and 'vid/mAP' in metrics
    assert [p.name for p in (tmp_path / 'videos').iterdir()] == ['clips_v0.mp4']


def test_logits_are_not_taken_for_zero_outside_the_key_frame():
    """A logit of zero is a score of one half."""
    model = VideoDetector(detector('retinanet'), split=dict(type='OutputSplit'))
    assert stages(model, 'sff-fast').method.executor.model.temporal.padding == 'border'
