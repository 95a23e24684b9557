"""The clips on which an adaptation is validated."""

from pathlib import Path

import pytest

from semidff.adaptation.validation import choose_clips
from semidff.analysis.evaluation_clips import EvaluationClip
from tests.damaged_video import write_video


@pytest.mark.parametrize('length, end', [(30, 30), (55, 41), (130, 121), (400, 301)])
def test_clips_end_with_a_key_frame(tmp_path, length, end):
    video = str(write_video(tmp_path / 'a.mp4', length))
    assert choose_clips([video] * 2, 1.0, 1800) == 2 * [EvaluationClip(video, 0, end)]


def test_a_single_long_video_has_two_clips(tmp_path):
    video = str(write_video(tmp_path / 'a.mp4', 400))
    clips = [EvaluationClip(video, 100, 221), EvaluationClip(video, 250, 371)]
    assert choose_clips([video], 0.25, 300) == clips


def test_clips_are_spread_over_the_videos(tmp_path):
    held_back = [str(write_video(tmp_path / f'{n}.mp4', 50)) for n in range(5)]
    clips = choose_clips(held_back, 1.0, 120)  # of 41 frames
    assert [Path(clip.path).stem for clip in clips] == ['0', '2', '4']
