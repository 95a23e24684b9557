"""Videos in folders."""

import os
from pathlib import Path

import pytest

from semidff.datasets.video_folders import find_videos, is_archive, list_videos
from semidff.datasets.video_readers import VideoError


def test_linked_folders_are_searched_last_and_once(tmp_path):
    for name in ('disk/cam', 'videos/own', 'videos/out'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'a 5².mp4').write_bytes(b'')
    (tmp_path / 'videos' / 'cam').symlink_to(tmp_path / 'disk' / 'cam')
    (tmp_path / 'videos' / 'latest').symlink_to(tmp_path / 'videos' / 'own')
    (tmp_path / 'videos' / 'own' / 'back').symlink_to(tmp_path / 'videos')
    found = list(map(str, find_videos(tmp_path / 'videos', own=tmp_path / 'videos' / 'out')))
    assert found == ['cam/a 5².mp4', 'own/a 5².mp4']


def test_a_folder_that_cannot_be_read_is_skipped_and_named(tmp_path, monkeypatch, log):
    for name in ('locked', 'open'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.mp4').touch()
    scan = os.scandir

    def refused(path):
        if str(path).endswith('locked'):
            raise PermissionError(13, 'Permission denied', path)
        return scan(path)

    monkeypatch.setattr(os, 'scandir', refused)
    assert find_videos(tmp_path) == [Path('open/a.mp4')]
    assert '1 folders cannot be read' in log.text and 'locked' in log.text


def test_a_folder_of_images_is_a_video_and_one_of_videos_is_an_archive(tmp_path):
    for name in ('frames/0.png', 'archive/0.png', 'archive/a.mp4', 'empty/notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {name: is_archive(tmp_path / name) for name in ('frames', 'archive', 'archive/a.mp4')}
    assert found == {'frames': False, 'archive': True, 'archive/a.mp4': False}
    with pytest.raises(VideoError, match='hold no videos'):
        find_videos(tmp_path / 'empty')


def test_folders_that_a_glob_matches_are_searched(tmp_path):
    for name in ('take 10/a.mp4', 'take 9/b.mp4', 'take 9/a.mp4', 'take 8/notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, missing = list_videos(['take 9/b.mp4', 'take*', 'other*'], tmp_path)
    names = 'take 9/b.mp4', 'take 9/a.mp4', 'take 10/a.mp4'
    assert found == [str(tmp_path / name) for name in names]
    assert [error.path for error in missing] == [str(tmp_path / n) for n in ('take 8', 'other*')]
