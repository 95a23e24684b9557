"""The videos of an adaptation: what is named, and what is left out."""

import os
from pathlib import Path

import pytest

from semidff.adaptation.videos import named_videos, write_list
from semidff.datasets.video_list import VideoListError, load_videos
from tests.damaged_video import write_video


def test_names_that_are_not_utf8_are_counted(tmp_path, log):
    for name in ('a.mp4', 'b #.mp4', os.fsdecode(b'caf\xe9.mp4')):
        (tmp_path / name).touch()
    found = named_videos([str(tmp_path)], tmp_path / 'out')
    assert found == [str(tmp_path / 'a.mp4')]
    assert Path(write_list(tmp_path / 'list.txt', found)).read_text() == f'{found[0]}\n'
    assert '2 videos are skipped' in log.text and 'not UTF-8' in log.text


def test_folders_without_videos_are_counted(tmp_path, log):
    for name in ('1/a.mp4', '2/notes.txt', '3/b.mp4'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    folders = [str(tmp_path / name) for name in '123']
    expected = [str(tmp_path / name) for name in ('1/a.mp4', '3/b.mp4')]
    for given in ([str(tmp_path / '*')], folders):  # also a glob that the shell has expanded
        log.clear()
        assert named_videos(given, tmp_path / 'out') == expected
        assert f"1 folders are skipped, since they hold no videos: ['{folders[1]}']" in log.text
    with pytest.raises(VideoListError, match='/2: no videos; give video files'):
        named_videos(folders[1:2], tmp_path / 'out')


def test_a_video_has_one_name(tmp_path):
    for name in ('disk/a.mp4', 'disk/b.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'disk' / 'latest.mp4').symlink_to(tmp_path / 'disk' / 'a.mp4')
    (tmp_path / 'link').symlink_to(tmp_path / 'disk')
    found = named_videos([str(tmp_path / 'link'), str(tmp_path / 'disk')], tmp_path / 'out')
    assert found == [str(tmp_path / 'link' / name) for name in ('a.mp4', 'b.mp4')]


def test_results_are_no_videos(tmp_path, log):
    for name in ('a.mp4', 'out/video.mp4', 'out/report.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert named_videos([str(tmp_path)], tmp_path / 'out') == [str(tmp_path / 'a.mp4')]
    assert '2 videos are skipped, since they are in the folder of the results' in log.text
    with pytest.raises(VideoListError, match='--out contains the videos; give a folder without'):
        named_videos([str(tmp_path)], tmp_path)


def test_one_hundred_of_one_thousand_files_are_broken(tmp_path, log):
    (tmp_path / 'videos').mkdir()
    source = write_video(tmp_path / 'source.mp4', 2)
    (tmp_path / 'broken.mp4').write_bytes(source.read_bytes()[:200])
    for number in range(1000):
        kind = 'broken.mp4' if number % 10 == 0 else 'source.mp4'
        (tmp_path / 'videos' / f'{number}.mp4').hardlink_to(tmp_path / kind)
    found = named_videos([str(tmp_path / 'videos')], tmp_path / 'out')
    assert len(found) == 1000
    readable = load_videos(write_list(tmp_path / 'list.txt', found))
    assert [video.path for video in readable] == [p for i, p in enumerate(found) if i % 10]
    assert '100 of 1000 entries are skipped' in log.text
