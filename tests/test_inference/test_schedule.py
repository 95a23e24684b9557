"""Gaps between time stamps."""

import numpy as np
import pytest

from semidff.inference.schedule import FrameTimes


def gaps(times, **options) -> list[int]:
    known = FrameTimes()
    return [n for n, time in enumerate(times) if known.push(time, **options)]


@pytest.mark.parametrize(
    ('steps', 'expected'),
    [
        ([0.04] * 9 + [1.9] + [0.04] * 9, []),  # of at most 2 s
        ([0.04] * 9 + [2.1] + [0.04] * 9, [10]),
        ([0.04] * 9 + [3600] + [0.04] * 9 + [3600], [10, 20]),
        ([1.0] * 9 + [4.9] + [1.0] * 9 + [5.1], [20]),  # 5 usual steps are more
        ([10.0] * 9, []),  # a time lapse
        ([0.02, 0.06] * 5 + [2.5], [11]),
        ([0.0] * 9, []),
        ([0.04] * 9 + [-1] + [0.04] * 9, [10]),
    ],
)
def test_long_steps_are_gaps(steps, expected):
    assert gaps([7, *(7 + np.cumsum(steps))]) == expected


def test_the_source_knows_better():
    assert gaps([0, 0.04, 99], after_gap=False) == []
    assert gaps([0, 0.04], after_gap=True) == [0, 1]
    assert gaps([None, None]) == []


def test_the_rate_leaves_out_gaps():
    known = FrameTimes()
    for time in [*np.arange(20) / 8, *(1000 + np.arange(20) / 8)]:
        known.push(time)
    assert known.rate == pytest.approx(8)
    assert FrameTimes().rate is None


def test_frames_that_were_dropped_count():
    known = FrameTimes()
    assert not any(known.push(time, dropped=9) for time in (0, 0.4, 0.8, 1.2))
    assert not known.push(4.8, dropped=89) and known.rate == pytest.approx(25)
    assert known.push(14.8, dropped=1)
