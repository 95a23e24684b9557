"""Gap recovery."""

import math

import pytest

from semidff.evaluation import gap_recovery


@pytest.mark.parametrize(('score', 'share'), [(20, 0), (90, 1), (55, 0.5), (6, -0.2), (97, 1.1)])
def test_share_of_the_gap(score, share):
    assert gap_recovery(score, frame=90, copy=20) == pytest.approx(share)


@pytest.mark.parametrize(('frame', 'copy'), [(50, 50), (40, 50), (math.nan, 50), (50, math.nan)])
def test_no_gap_to_recover(frame, copy):
    assert math.isnan(gap_recovery(45, frame, copy))
