"""The filter's constants, fitted to a detector whose errors are known."""

import numpy as np

from semidff.analysis import filter_fit
from semidff.analysis.runs import OperatingPoint, Run
from semidff.filter import FilterConstants, VideoFilter
from tests.tiny.pictures import picture

SIZE, BOX = (96, 128), np.array([30.0, 20, 70, 70])


def fit(errors, score: float = 0.9) -> FilterConstants:
    """Fit to a still object, whose boxes have these errors (frames, 4)."""
    image, ones = picture(SIZE, [BOX]), np.ones(len(errors), int)
    dense, tracked = Run(OperatingPoint('frame'), None), filter_fit.runs_to_fit()
    dense.found.append((ones, 0 * ones, score * ones, BOX + errors))
    for run in tracked:
        tracks = VideoFilter(1, constants=run.constants)
        seen = np.arange(len(errors)) % filter_fit.TRACKED.key_interval == 0
        results = []
        for number, box in enumerate(BOX + errors):
            own = box[None], np.full(1, score), np.zeros(1, int)
            results += tracks.push(image, SIZE, own if seen[number] else None)
        columns = [[getattr(one, key) for one in results] for key in ('labels', 'scores', 'boxes')]
        run.found.append((np.array([*map(len, columns[0])]), *map(np.concatenate, columns)))
        run.seen.append(seen)
    return filter_fit.fit_filter(dense, tracked)


def test_what_is_noisy_is_averaged_for_longer():
    rng = np.random.default_rng(0)
    assert fit(rng.normal(0, 4, (121, 4))).drift == 2


def test_what_is_equal_keeps_the_defaults():
    assert fit(np.zeros((61, 4))) == FilterConstants()


def test_nothing_to_agree_with():
    assert fit(np.zeros((21, 4)), 0.1) == FilterConstants()


def test_a_single_frame_keeps_the_defaults():
    assert fit(np.zeros((1, 4))) == FilterConstants()


def test_the_defaults_are_among_what_is_compared():
    assert filter_fit.CONSTANTS[0] == FilterConstants() and len({*filter_fit.CONSTANTS}) == 9
