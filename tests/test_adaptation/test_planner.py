"""Choices of an adaptation from what the machine has."""

from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from semidff.adaptation import planner
from semidff.adaptation.config import detector_config
from semidff.adaptation.plan import LEAST, Candidate, Data, Plan, Training
from semidff.adaptation.planner import _memory
from semidff.analysis.speed import ClipTimes
from semidff.datasets.video_list import VideoInfo


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


class Features(torch.nn.Linear):
    """A detector with a megabyte of features per frame."""

    def __init__(self):
        super().__init__(1, 1)
        self.spatial = SimpleNamespace(features=lambda images: [torch.zeros(250_000)])


@pytest.mark.parametrize(
    'size, memory, kept',
    [
        ((360, 640), 80, 512 * 2**20),
        ((2160, 3840), 80, 64 * 6 * 2160 * 3840),
        ((2160, 3840), 8, 2**30),
    ],
)
def test_decoded_frames_of_pairs_that_are_drawn_at_once_are_kept(monkeypatch, size, memory, kept):
    monkeypatch.setattr(planner, '_memory', lambda: memory * 2**30)
    own, videos = detector_config('retinanet_r50_fpn_1x_coco'), [VideoInfo('a', 'a', 100, *size)]
    data = planner._choose_data(own, videos, 1.0, Features(), 'cpu')
    assert data.cache_bytes == kept and data.crop


@pytest.mark.parametrize(
    'device, frames, gigabytes',
    [('cpu', 100, 1.1 * 0.1 * 1.25), ('cpu', 20_000, 0), ('cuda', 100, 0)],
)
def test_features_of_large_frames_are_kept_on_a_cpu_if_they_fit(
    monkeypatch, device, frames, gigabytes
):
    monkeypatch.setattr(planner, '_memory', lambda: 20e9)
    own = detector_config('retinanet_r50_fpn_1x_coco')
    videos = [VideoInfo('a.mp4', 'a', 2 * frames, 720, 1280)]
    data = planner._choose_data(own, videos, 0.5, Features(), device)
    assert data.frames == frames
    assert data.feature_cache == pytest.approx(gigabytes, abs=0.01)
    assert data.kept_frames == (frames if gigabytes else 0)
    # Crops fit into the smaller size, whose height is 375.
    assert data.crop == ([352, 640] if gigabytes else [480, 640])


@pytest.mark.parametrize('memory, crop', [(20e9, [234, 416]), (1e6, None)])
def test_crops_of_padded_frames_are_as_large_as_the_smallest_content(monkeypatch, memory, crop):
    monkeypatch.setattr(planner, '_memory', lambda: memory)
    own = detector_config('mmdet::yolox/yolox_nano_8xb8-300e_coco.py')
    videos = [VideoInfo(n, n, 100, *size) for n, size in (('a', (360, 640)), ('b', (360, 480)))]
    data = planner._choose_data(own, videos, 1.0, Features(), 'cpu')
    assert data.crop == crop and bool(data.feature_cache) == bool(crop) and data.batch_size == 2


def test_a_gpu_takes_no_less_than_reading(monkeypatch):
    key, non_key = [12, 3, 1, 20], [12, 3, 1, 2]

    def timer(model, method, *_, **options):
        rows = [key] * 10 if method == 'frame' else [key, *[non_key] * 9]
        clip = ClipTimes(np.array(rows) / 1000, 0, memory=100.0)
        return SimpleNamespace(run=lambda frames: clip)

    monkeypatch.setattr(planner, 'ClipTimer', timer)
    times, reading, _ = planner._time_clips(repeat([]), None, None)
    assert times == pytest.approx([21, 3]) and reading == pytest.approx(12)
    found = planner._forecast(Candidate('', 1 / 8), times, reading, 10)
    assert found.fps == pytest.approx(1000 / 12)  # networks alone: 4.8 ms
    assert found.speedup == pytest.approx(21 / 12)


@pytest.mark.parametrize(('kept', 'sizes'), [(0, 1), (500, 2), (2000, 1), (2000, 2)])
@pytest.mark.parametrize('seconds', [100.0, 1000.0])
def test_iterations_fit_into_the_time(kept, sizes, seconds):
    """As counted with frames that are drawn at random."""
    data = Data(2000, None, 2, 0, 1.0, kept, sizes)
    costs = dict(read=0.02, first=0.05, regression=0.1, semantic=0.3)
    training = Training([1, 9], dict(regression=1, semantic=1), costs, 1, 0.0)
    plan = Plan('', '', '', '', 'cpu', 10, None, 0, None, None, data, training)
    steps = planner._iterations(plan, seconds)
    if seconds == 100.0:
        assert steps == LEAST
        return
    assert steps['semantic'] == pytest.approx(1.5 * steps['regression'], abs=10)
    generator, known, taken = np.random.default_rng(0), set(), {}
    for name, count in steps.items():
        taken[name] = count * (0.02 + costs[name])
        for frame, size in generator.integers((2000, sizes), size=(4 * count, 2)).tolist():
            taken[name] += 0.0 if (frame, size) in known else 0.05
            known |= {(frame, size)} if frame < kept else set()
    assert sum(taken.values()) == pytest.approx(seconds, rel=0.02)
    assert plan.seconds_of(steps) == pytest.approx(taken, rel=0.02)


def test_memory_within_the_limit_of_a_container(tmp_path):
    machine = _memory(tmp_path)
    assert machine > 1000
    for name, text in (('max', '5000'), ('current', '4200'), ('stat', 'anon 7\ninactive_file 300')):
        (tmp_path / f'memory.{name}').write_text(f'{text}\n')
    assert _memory(tmp_path) == 5000 - 4200 + 300
    (tmp_path / 'memory.max').write_text('1000\n')  # lowered
    assert _memory(tmp_path) == 0
    (tmp_path / 'memory.max').write_text('max\n')
    assert _memory(tmp_path) > 1000
