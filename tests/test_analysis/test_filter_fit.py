"""The filter's constants, fitted to a detector whose errors are known."""

from types import SimpleNamespace

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from semidff.analysis import filter_fit
from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.filter import FilterConstants
from tests.tiny.pictures import picture

SIZE, BOX = (96, 128), np.array([30.0, 20, 70, 70])


def fit(monkeypatch, errors, score: float = 0.9) -> FilterConstants:
    """Fit to a still object, whose boxes have these errors (frames, 4)."""
    image = np.repeat(picture(SIZE, [BOX])[..., None], 3, 2)
    clips = [EvaluationClip(files=('',) * len(errors))]
    monkeypatch.setattr(EvaluationClip, 'images', lambda clip: iter([image] * len(clip.files)))
    monkeypatch.setattr(filter_fit, 'frame_pipeline', lambda cfg: lambda results: {})

    class Detector:
        num_classes = 1

        def __init__(self, executor, method):
            assert method == 'frame'

        def run(self, batches):
            for _, error in zip(batches, errors, strict=True):
                found = InstanceData(
                    bboxes=torch.tensor(BOX + error).reshape(1, 4),
                    scores=torch.tensor([score]),
                    labels=torch.tensor([0]),
                )
                yield DetDataSample(pred_instances=found)

    monkeypatch.setattr(filter_fit, 'VideoEngine', Detector)
    return filter_fit.fit_filter(SimpleNamespace(model=SimpleNamespace(cfg=None)), clips)


def test_what_is_noisy_is_averaged_for_longer(monkeypatch):
    rng = np.random.default_rng(0)
    assert fit(monkeypatch, rng.normal(0, 4, (121, 4))).drift == 2


def test_what_is_equal_keeps_the_defaults(monkeypatch):
    assert fit(monkeypatch, np.zeros((61, 4))) == FilterConstants()


def test_nothing_to_agree_with(monkeypatch):
    assert fit(monkeypatch, np.zeros((21, 4)), 0.1) == FilterConstants()


def test_the_defaults_are_among_what_is_compared():
    assert filter_fit.CONSTANTS[0] == FilterConstants() and len({*filter_fit.CONSTANTS}) == 9
