"""The clips on which an adaptation is validated."""

from pathlib import Path

import pytest

from semidff.adaptation import Plan
from semidff.adaptation.validation import choose_clips
from tests.damaged_video import write_video


@pytest.fixture
def plan():
    """A plan with a detector of 10 frames per second."""
    return Plan('', '', '', 'cpu', alone=[100, 10])


@pytest.mark.parametrize('length, interval, end', [
    (30, 10, 30), (55, 10, 41), (130, 15, 121), (400, 10, 301), (400, 15, 301),
])  # fmt: skip
def test_clips_end_with_a_key_frame(plan, tmp_path, length, interval, end):
    plan.held_back, plan.key_interval = [str(write_video(tmp_path / 'a.mp4', length))], interval
    assert choose_clips(plan) == [[plan.held_back[0], 0, end]]


def test_clips_are_spread_over_the_videos(plan, tmp_path):
    plan.minutes = 1  # at least 120 frames, which are three clips
    plan.held_back = [str(write_video(tmp_path / f'{n}.mp4', 50)) for n in range(5)]
    assert [Path(clip[0]).stem for clip in choose_clips(plan)] == ['0', '2', '4']
