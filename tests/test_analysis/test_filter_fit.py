"""The filter's constants, fitted to a detector whose errors are known."""

import numpy as np

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
    ones = np.ones(len(errors), int)
    return filter_fit.fit_filter(clips, [(ones, 0 * ones, score * ones, BOX + errors)])


def test_what_is_noisy_is_averaged_for_longer(monkeypatch):
    rng = np.random.default_rng(0)
    assert fit(monkeypatch, rng.normal(0, 4, (121, 4))).drift == 2


def test_what_is_equal_keeps_the_defaults(monkeypatch):
    assert fit(monkeypatch, np.zeros((61, 4))) == FilterConstants()


def test_nothing_to_agree_with(monkeypatch):
    assert fit(monkeypatch, np.zeros((21, 4)), 0.1) == FilterConstants()


def test_the_defaults_are_among_what_is_compared():
    assert filter_fit.CONSTANTS[0] == FilterConstants() and len({*filter_fit.CONSTANTS}) == 9
