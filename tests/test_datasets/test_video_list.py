"""The list of unlabeled videos: its syntax, and entries that cannot be used."""

import logging
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest

from semidff.datasets import UnlabeledVideoDataset, video_list
from semidff.datasets.video_list import VideoListError, load_frames, load_videos
from semidff.datasets.video_readers import open_video
from tests import damaged_video


def write_video(path, length=5, size=(64, 48)):
    return damaged_video.write_video(path, length, size=size)


def test_files_folders_globs_and_comments(tmp_path):
    write_video(tmp_path / 'one.mp4', 5)
    for number in (10, 9):
        write_video(tmp_path / f'clips/{number}.mp4', number, (96, 64))
    (tmp_path / 'frames').mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / f'frames/{index}.png'), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / 'list.txt').write_text(
        '\ufeff# my videos\n\none.mp4   # a file\n  frames\nclips/*.mp4\none.mp4\n',
        encoding='utf-8',
    )
    videos = load_videos(tmp_path / 'list.txt')
    assert [(v.name, v.length, v.height, v.width) for v in videos] == [
        ('one.mp4', 5, 48, 64),
        ('frames', 3, 20, 30),
        ('clips/9.mp4', 9, 64, 96),
        ('clips/10.mp4', 10, 64, 96),
    ]


def test_brackets_in_the_path_of_the_list_are_no_glob(tmp_path):
    write_video(tmp_path / 'take [12]/clips/mine.mp4')
    write_video(tmp_path / 'take 1/clips/other.mp4')
    listed = tmp_path / 'take [12]/list.txt'
    listed.write_text('clips/*.mp4\n')
    assert [video.name for video in load_videos(listed)] == ['clips/mine.mp4']
    listed.write_text('clips/mine.mp4\nclips/none.mp4\n')
    assert [video.name for video in load_videos(listed)] == ['clips/mine.mp4']


def broken_half(folder):
    """Three whole videos and as many broken ones; the lines of their list."""
    data = write_video(folder / 'a.mp4').read_bytes()
    write_video(folder / 'b.mp4')
    write_video(folder / 'c.mp4')
    (folder / 'truncated.mp4').write_bytes(data[: len(data) // 2])
    (folder / 'zero.mp4').write_bytes(b'')
    write_video(folder / 'single.mp4', 1)
    return ['a.mp4', 'truncated.mp4', 'b.mp4', 'zero.mp4', 'c.mp4', 'single.mp4']


def test_broken_half_is_skipped_counted_and_named(tmp_path, log):
    lines = [*broken_half(tmp_path), 'missing.mp4', 'nothing/*.mp4']
    lines += [f'missing_{number}.mp4' for number in range(200)]
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    assert [v.name for v in load_videos(tmp_path / 'list.txt')] == ['a.mp4', 'b.mp4', 'c.mp4']
    warnings = [r.getMessage() for r in log.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1 and '205 of 208 entries are skipped' in warnings[0]
    for text in ('truncated.mp4: not a', 'zero.mp4: not a', 'single.mp4: has 1 frame'):
        assert text in warnings[0]
    assert 'missing.mp4: no such file' in warnings[0] and 'matches nothing' in warnings[0]
    assert len(warnings[0].splitlines()) == 12 and '... and 195 more' in warnings[0]
    assert any('3 videos, 15 frames' in r.getMessage() for r in log.records)


def test_six_kinds_of_damage_are_named_and_end_nothing(tmp_path, log):
    (tmp_path / 'videos').mkdir()
    damaged = damaged_video.write_damaged(tmp_path / 'videos')
    for number in range(6):
        write_video(tmp_path / 'videos' / f'{number}.mp4')
    found = {video.name: video for video in load_videos(tmp_path / 'videos')}
    assert {f'{number}.mp4' for number in range(6)} <= found.keys()
    assert all(f'videos/{name}' in log.text for name in damaged - {'wiped.mp4'})
    data = UnlabeledVideoDataset(tmp_path / 'videos', window=8)  # decodes what is opened above
    assert len([data[index] for index in range(len(data))]) > 100
    assert all(f'videos/{name}' in log.text for name in damaged)


@pytest.mark.parametrize(
    'other', ['./a.mp4', 'sub/../a.mp4', './*.mp4', './', 'link.mp4', 'linked']
)
def test_a_video_counts_once(tmp_path, other):
    for name in ('a.mp4', 'sub/b.mp4'):
        write_video(tmp_path / name)
    (tmp_path / 'link.mp4').symlink_to('sub/b.mp4')
    (tmp_path / 'linked').symlink_to('sub')
    (tmp_path / 'list.txt').write_text(f'a.mp4\nsub/b.mp4\n{other}\n')
    assert [video.name for video in load_videos(tmp_path / 'list.txt')] == ['a.mp4', 'sub/b.mp4']
    (tmp_path / 'frames.txt').write_text('a.mp4 1\n./a.mp4 2\nsub/../a.mp4 3\n')
    found = [(video.name, frames) for video, frames in load_frames(tmp_path / 'frames.txt')]
    assert found == [('a.mp4', [1, 2, 3])]


def test_lists_of_frames(tmp_path):
    write_video(tmp_path / 'clips' / 'a b.mp4', 5)
    write_video(tmp_path / 'c.mp4', 3)
    listed = tmp_path / 'frames.txt'
    listed.write_text('clips/a b.mp4 1 4 5\nc.mp4 2\n# a comment\nclips/a b.mp4 0\nmissing.mp4 7\n')
    found = [(video.name, frames) for video, frames in load_frames(listed)]
    assert found == [('clips/a b.mp4', [4, 0]), ('c.mp4', [2])]
    listed.write_text('c.mp4 3\n')
    with pytest.raises(
        VideoListError, match='frame 3 of c.mp4 is listed, but the video has 3 frames'
    ):
        load_frames(listed)
    listed.write_text('c.mp4\n')
    with pytest.raises(VideoListError, match="'c.mp4' names no frame"):
        load_frames(listed)


def test_a_list_is_a_folder_a_glob_or_has_folders_of_videos(tmp_path, monkeypatch):
    for name in ('a.mp4', 'deep/b.mp4', 'deep/c'):
        write_video(tmp_path / 'clips' / f'{name}.mp4').rename(tmp_path / 'clips' / name)
    (tmp_path / 'clips/deep/notes.json').write_text('{}')
    names = ['a.mp4', 'deep/b.mp4', 'deep/c']
    assert [video.name for video in load_videos(tmp_path / 'clips')] == names
    (tmp_path / 'list.txt').write_text('clips\n')
    assert [v.name for v in load_videos(tmp_path / 'list.txt')] == [f'clips/{n}' for n in names]
    monkeypatch.chdir(tmp_path)
    assert [video.name for video in load_videos('clips/*.mp4')] == ['clips/a.mp4']


def test_videos_that_have_not_changed_are_not_opened_again(tmp_path, monkeypatch):
    lines = broken_half(tmp_path)
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    first = load_videos(tmp_path / 'list.txt')
    opened = []

    def noted(path):
        opened.append(Path(path).name)
        return open_video(path)

    monkeypatch.setattr('semidff.datasets.video_list.open_video', noted)
    assert load_videos(tmp_path / 'list.txt') == first and opened == []
    write_video(tmp_path / 'b.mp4', 7)
    lengths = [video.length for video in load_videos(tmp_path / 'list.txt')]
    assert lengths == [5, 7, 5] and opened == ['b.mp4']
    (tmp_path / '.list.txt.manifest.json').write_text('half a manife')
    assert [video.length for video in load_videos(tmp_path / 'list.txt')] == lengths
    assert len(opened) == 1 + len(lines)


def _load(path, queue):
    opened = []

    def noted(one):
        opened.append(one)
        return open_video(one)

    video_list.open_video = noted
    queue.put((len(load_videos(path)), len(opened)))


def test_one_of_several_processes_opens_the_videos(tmp_path):
    for index in range(20):
        write_video(tmp_path / f'{index}.mp4')
    (tmp_path / 'list.txt').write_text('*.mp4')
    context = get_context('fork')
    queue = context.Queue()
    processes = [
        context.Process(target=_load, args=(tmp_path / 'list.txt', queue)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    results = [queue.get(timeout=60) for _ in processes]
    assert [videos for videos, _ in results] == [20] * 3
    assert sorted(opened for _, opened in results) == [0, 0, 20]
    for process in processes:
        process.join(timeout=60)
