"""What a training needs of the machine."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import init_default_scope

from semidff.adaptation import training
from semidff.adaptation.config import detector_config
from semidff.adaptation.folder import Choices
from semidff.adaptation.job import Job
from semidff.adaptation.training import _memory
from semidff.datasets.video_list import VideoInfo


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def choose(monkeypatch, name, videos, portion=1.0, device='cpu', minutes=60.0):
    monkeypatch.setattr(training, 'load_videos', lambda path: videos)
    job = Job(Path(), detector_config(name), name, device, minutes)
    return training.choose_data(job, Choices({}, portion=portion), Features())


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
    monkeypatch.setattr(training, '_memory', lambda: memory * 2**30)
    data = choose(monkeypatch, 'retinanet_r50_fpn_1x_coco', [VideoInfo('a', 'a', 100, *size)])
    assert data.cache_bytes == kept and data.crop


@pytest.mark.parametrize(
    'device, frames, gigabytes',
    [('cpu', 100, 1.1 * 0.1 * 1.25), ('cpu', 20_000, 0), ('cuda', 100, 0)],
)
def test_features_of_large_frames_are_kept_on_a_cpu_if_they_fit(
    monkeypatch, device, frames, gigabytes
):
    monkeypatch.setattr(training, '_memory', lambda: 20e9)
    videos = [VideoInfo('a.mp4', 'a', 2 * frames, 720, 1280)]
    data = choose(monkeypatch, 'retinanet_r50_fpn_1x_coco', videos, 0.5, device)
    assert data.feature_cache == pytest.approx(gigabytes, abs=0.01)
    assert data.kept == (2 * frames if gigabytes else 0)  # in two sizes
    # Crops fit into the smaller size, whose height is 375.
    assert data.crop == ([352, 640] if gigabytes else [480, 640])


def test_a_short_training_keeps_what_fits_of_the_features_of_many_videos(monkeypatch):
    monkeypatch.setattr(training, '_memory', lambda: 20e9)
    videos = [VideoInfo('a.mp4', 'a', 100_000, 720, 1280)]
    data = choose(monkeypatch, 'retinanet_r50_fpn_1x_coco', videos, minutes=1e-3)
    assert data.feature_cache == 8 and data.frames == 200_000
    assert data.kept == 2 * 6400  # a megabyte at full size, and a quarter at half of it


@pytest.mark.parametrize('memory, crop', [(20e9, [234, 416]), (1e6, None)])
def test_crops_of_padded_frames_are_as_large_as_the_smallest_content(monkeypatch, memory, crop):
    monkeypatch.setattr(training, '_memory', lambda: memory)
    videos = [VideoInfo(n, n, 100, *size) for n, size in (('a', (360, 640)), ('b', (360, 480)))]
    data = choose(monkeypatch, 'mmdet::yolox/yolox_nano_8xb8-300e_coco.py', videos)
    assert data.crop == crop and bool(data.feature_cache) == bool(crop) and data.batch_size == 2


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
