"""The clips on which an adaptation is validated."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from semidff.adaptation.validation import choose_clips
from semidff.analysis.evaluation_clips import EvaluationClip
from tests.damaged_video import write_video


def clips(held_back, minutes=60, key_interval=10):
    """Clips for a detector of 10 frames per second."""
    networks = SimpleNamespace(alone=[100, 10], key_interval=key_interval)
    return choose_clips(held_back, 1.0, networks, minutes)


@pytest.mark.parametrize('length, interval, end', [
    (30, 10, 30), (55, 10, 41), (130, 15, 121), (400, 10, 301), (400, 15, 301),
])  # fmt: skip
def test_clips_end_with_a_key_frame(tmp_path, length, interval, end):
    video = str(write_video(tmp_path / 'a.mp4', length))
    assert clips([video], key_interval=interval) == [EvaluationClip(video, 0, end)]


def test_clips_are_spread_over_the_videos(tmp_path):
    held_back = [str(write_video(tmp_path / f'{n}.mp4', 50)) for n in range(5)]
    # at least 120 frames, which are three clips
    assert [Path(clip.path).stem for clip in clips(held_back, minutes=1)] == ['0', '2', '4']
