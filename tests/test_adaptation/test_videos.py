"""The videos of an adaptation: what is named, what is left out, and which clips are measured."""

import os
from pathlib import Path

import pytest

from semidff.adaptation.videos import choose_clips, hold_back, named_videos, readable_clips
from semidff.datasets.video_list import VideoInfo, VideoListError
from semidff.datasets.video_readers import VideoError
from semidff.points.clips import Clip
from tests.damaged_video import wipe, write_video


def test_what_cannot_be_named_in_a_list_and_folders_without_videos_are_counted(tmp_path, log):
    for name in ('1/a.mp4', '2/notes.txt', '3/b.mp4', '3/b #.mp4', os.fsdecode(b'3/caf\xe9.mp4')):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = named_videos([str(tmp_path / '*')], tmp_path / 'out')
    assert found == [str(tmp_path / name) for name in ('1/a.mp4', '3/b.mp4')]
    assert '3 folders or files are skipped' in log.text and str(tmp_path / '2') in log.text
    with pytest.raises(VideoListError, match='/2: no videos; give video files'):
        named_videos([str(tmp_path / '2')], tmp_path / 'out')
    for absent in ('4', '*.mp4'):
        with pytest.raises(VideoListError, match='there is no such file or folder'):
            named_videos([str(tmp_path / '1'), str(tmp_path / absent)], tmp_path / 'out')


def test_a_video_has_one_name(tmp_path):
    for name in ('disk/a.mp4', 'disk/b.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'disk' / 'latest.mp4').symlink_to(tmp_path / 'disk' / 'a.mp4')
    (tmp_path / 'link').symlink_to(tmp_path / 'disk')
    found = named_videos([str(tmp_path / 'link'), str(tmp_path / 'disk')], tmp_path / 'out')
    assert found == [str(tmp_path / 'link' / name) for name in ('a.mp4', 'b.mp4')]


def test_results_are_no_videos(tmp_path):
    for name in ('a.mp4', 'out/video.mp4', 'out/report.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert named_videos([str(tmp_path)], tmp_path / 'out') == [str(tmp_path / 'a.mp4')]
    with pytest.raises(VideoListError, match='no videos; give'):
        named_videos([str(tmp_path)], tmp_path)


def held(*lengths):
    """Return the lengths of the videos that are held back, and the share of each video that is
    trained on.
    """
    videos = [VideoInfo(str(n), '', length, 48, 64) for n, length in enumerate(lengths)]
    trained, held_back, portion = hold_back(videos)
    assert portion < 1 or not {*trained} & {*held_back}
    return [video.length for video in held_back], portion


def test_hold_back():
    assert held(1000, 50) == ([1000], 0.85)  # the end of the other is too short
    assert held(1000, 50, 2) == ([50], 1)
    assert held(90, 20) == ([90], 0.85)
    assert held(200, 200) == ([200, 200], 0.85)  # none of two scenes is left out
    assert held(200, 200, 200) == held(*[200] * 9) == ([200], 1)
    assert held(1000, 300, 50) == ([300], 1)
    assert held(1000, 30, 30) == ([1000], 0.85)  # what is short enough is too short to validate
    assert held(*[20] * 5) == ([20], 1)  # too short for ends
    assert held(*[50, 3] * 10) == ([50] * 3, 1)
    # three videos of 250 would be most of the frames
    assert sum(held(*[30] * 8, 250, 250, 250, *[30] * 8)[0]) <= 0.3 * 1230


@pytest.mark.parametrize('length, end', [(30, 30), (55, 41), (130, 121), (400, 301)])
def test_clips_end_with_a_key_frame(tmp_path, length, end):
    video = str(write_video(tmp_path / 'a.mp4', length))
    assert choose_clips([video] * 2, 1.0, 1800) == 2 * [Clip(video, 0, end)]


def test_a_single_long_video_has_two_clips(tmp_path):
    video = str(write_video(tmp_path / 'a.mp4', 400))
    clips = [Clip(video, 100, 221), Clip(video, 250, 371)]
    assert choose_clips([video], 0.25, 300) == clips


def test_clips_are_spread_over_the_videos(tmp_path):
    held_back = [str(write_video(tmp_path / f'{n}.mp4', 50)) for n in range(5)]
    clips = choose_clips(held_back, 1.0, 120)  # of 41 frames
    assert [Path(clip.path).stem for clip in clips] == ['0', '2', '4']


def test_clips_that_cannot_be_decoded_are_left_out(tmp_path):
    whole = str(write_video(tmp_path / 'whole.mp4', 50))
    broken = str(wipe(tmp_path / 'wiped.mp4', Path(whole), 0.8))
    assert readable_clips([broken, whole], 0.5, 40) == ([whole], choose_clips([whole], 0.5, 40))
    with pytest.raises(VideoError):
        readable_clips([broken], 0.5, 40)
