"""The speed benchmark: its arithmetic, what it calls, its frames, its command; not its times."""

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from semidff.inference.benchmark import (
    PARTS,
    SpeedReport,
    measure_speed,
    smooth_frames,
    video_frames,
)
from tests import models
from tests.tiny_video import build, frame, video_detector_cfg

ROOT = Path(__file__).resolve().parents[2]


def test_report_computes_equations_5_and_7():
    parts = dict(
        feature_network=90.0, flow_and_scale=12.0, warp=3.0, task_key=10.0, task_current=5.0
    )
    report = SpeedReport(10, parts, 100.0, 110.0, 20.0, [3.0, 3.5, 3.4], 7.0)
    assert report.ratio == pytest.approx(20 / 100)
    assert report.bound == pytest.approx(10 / (1 + 9 * 0.2))
    assert report.mean == pytest.approx((110 + 9 * 20) / 10)
    assert report.speedup == 3.4
    assert report.to_dict()['of_bound'] == pytest.approx(3.4 / (10 / 2.8))
    text = str(report)
    assert 'bound (DFF Eq. 7)       3.571x at l = 10' in text
    assert 'share of the bound      95.2 %' in text


def test_times_every_part_and_runs_the_schedule():
    model = build(video_detector_cfg())
    calls = Counter()
    watched = dict(backbone=model.spatial.detector.backbone, flow=model.temporal.flow_network)
    for name, module in watched.items():
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
    told = []
    report = measure_speed(model, [frame(1, i) for i in range(5)], 3, 2, progress=told.append)
    assert set(report.parts) == set(PARTS)
    assert all(value > 0 for value in (*report.parts.values(), report.frame, report.key))
    assert report.key_interval == 3
    assert len(report.clip_speedups) == 2
    assert report.detections > 0
    # each of 3 clips of 3 frames: 1 key frame, 3 alone, 3 parts; 2 propagated, 3 parts
    assert calls == dict(backbone=3 * 7, flow=3 * 5)
    assert [line.split(':')[0] for line in told] == ['warm-up', 'clip 1 of 2', 'clip 2 of 2']


def test_refuses_what_cannot_be_measured():
    frames = [frame(1, 0), frame(1, 1)]
    with pytest.raises(ValueError, match='no temporal module'):
        measure_speed(build(video_detector_cfg(temporal=False)), frames)
    with pytest.raises(ValueError, match='key_interval=1'):
        measure_speed(build(video_detector_cfg()), frames, key_interval=1)
    with pytest.raises(ValueError, match='1 frames'):
        measure_speed(build(video_detector_cfg()), frames[:1])


def test_smooth_frames_pan():
    frames = smooth_frames(4, 40, 60)
    assert [f.shape for f in frames] == [(40, 60, 3)] * 4
    assert np.array_equal(frames[0][1:, 4:], frames[1][:-1, :-4])
    assert np.array_equal(frames[2], smooth_frames(4, 40, 60)[2])
    assert frames[0].std() > 10
    assert np.abs(np.diff(frames[0].astype(int), axis=1)).mean() < 10


def test_video_frames_have_the_wanted_size(tmp_path):
    for index in range(3):
        cv2.imwrite(str(tmp_path / f'{index}.png'), frame(1, index))
    frames = video_frames(str(tmp_path), 5, 32, 48)
    assert [f.shape for f in frames] == [(32, 48, 3)] * 3
    assert np.array_equal(frames[1], cv2.resize(frame(1, 1), (48, 32)))


@pytest.fixture
def tool(monkeypatch):
    """The command, run in this process."""
    path = ROOT / 'tools' / 'analysis' / 'benchmark_speed.py'
    spec = importlib.util.spec_from_file_location('benchmark_speed', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, arguments)])
        module.main()

    return run


def test_command_writes_text_and_json(tool, tmp_path, capsys):
    flow = dict(type='FlowNetS', width=1 / 16)
    temporal = dict(type='TemporalModule', flow_network=flow, feat_channels=32)
    model = dict(type='SemiDFF', detector=models.rfcn(), temporal=temporal)
    Config(dict(model=model)).dump(tmp_path / 'config.py')
    size = ('--shape', 64, 96, '--key-interval', 2, '--repeats', 1)
    tool(tmp_path / 'config.py', *size, '--amp', '--device', 'cpu', '--out', tmp_path / 'out.json')
    assert 'r (DFF Eq. 5)' in capsys.readouterr().out
    figures = json.loads((tmp_path / 'out.json').read_text())
    assert figures['height'] == 64
    assert figures['amp'] is True
    assert figures['weights'] == 'random'
    assert figures['speedup'] / figures['bound'] == pytest.approx(figures['of_bound'])


def test_command_refuses_an_image_detector(tool, tmp_path):
    Config(dict(model=models.rfcn())).dump(tmp_path / 'config.py')
    with pytest.raises(SystemExit, match='RFCN has no temporal module; give a stage-two config'):
        tool(tmp_path / 'config.py', '--device', 'cpu')


def test_command_refuses_a_missing_video(tool, tmp_path):
    Config(dict(model=video_detector_cfg())).dump(tmp_path / 'config.py')
    with pytest.raises(SystemExit, match='nothing.mp4'):
        tool(tmp_path / 'config.py', '--device', 'cpu', '--video', tmp_path / 'nothing.mp4')
