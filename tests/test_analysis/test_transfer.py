"""Comparison on videos one by one."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.runs import OperatingPoint, detect_clip, runs_of
from semidff.analysis.transfer import METHODS, compare_videos
from semidff.evaluation.metrics import agreement
from semidff.inference.executors import as_executor
from tests.tiny.videos import CLASSES, build, test_settings, video_detector_cfg, write_videos


@pytest.fixture(scope='module')
def setting(tmp_path_factory):
    """A detector with random weights, its video detector, and two clips of a moving square."""
    folder = tmp_path_factory.mktemp('videos')
    write_videos(folder, (7, 6))
    model = build(video_detector_cfg())
    model.cfg = Config(test_settings(folder / 'val.json', folder / 'work'))
    model.dataset_meta = dict(classes=CLASSES)
    names = (sorted(map(str, folder.glob(f'v{n}_*.png'))) for n in (0, 1))
    return model, [EvaluationClip(files=tuple(files)) for files in names]


def results(executor, clip, *points):
    runs = detect_clip(executor, clip, {one: runs_of(one, None, 1) for one in points})
    return [run.detections() for (run,) in runs]


def test_figures_are_those_of_each_clip(setting):
    model, clips = setting
    rows = list(compare_videos(model, model, clips, 3, 0.0))
    assert len(rows) == 2 and rows[0]['propagate'] != rows[1]['propagate']
    dense, both = OperatingPoint('frame'), OperatingPoint('frame', filter='both').completed()
    for row, clip in zip(rows, clips, strict=True):
        frames = len(clip.files)
        detector = as_executor(model).with_temporal(None)
        plain, reference, copied = results(detector, clip, dense, both, OperatingPoint('copy', 3))
        (propagated,) = results(model, clip, OperatingPoint('propagate', 3))
        assert row['frames'] == frames and row['boxes'] == len(plain.scores) / frames
        for name, found in (('copy', copied), ('propagate', propagated)):
            own = {key: row[name][key] for key in ('AP', 'AP_50', 'AP_75')}
            assert own == agreement(reference, found, frames, 0.0)
            assert row[name]['boxes'] == len(found.scores) / frames
            for label, factor in row[name]['classes'].items():
                counts = [np.sum(one.labels == label) for one in (found, plain)]
                assert counts[1] >= 20 and factor == counts[0] / counts[1]


def test_methods_without_training_run_the_detectors_own_weights(setting):
    model, clips = setting
    trained = build(video_detector_cfg())
    trained.cfg, trained.dataset_meta = model.cfg, model.dataset_meta
    with torch.no_grad():
        for weight in trained.parameters():
            nn.init.normal_(weight, std=0.05) if weight.dim() > 1 else None
    (own,), (other,) = (
        list(compare_videos(one, model, clips[:1], 3, 0.0)) for one in (model, trained)
    )
    assert own['copy'] == other['copy'] and own['track'] == other['track']
    assert own['propagate'] != other['propagate'] and METHODS[-1] == 'propagate'
