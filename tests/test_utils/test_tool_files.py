"""No tool destroys what it reads, another output, or a file of somebody else."""

import json
import os

import pytest

from semidff.utils.tool_files import (
    FileError,
    InputFile,
    OutputFile,
    OutputVideo,
    ReportFile,
    check_outputs,
    check_regular,
    marked,
    unmarked,
)


@pytest.fixture
def video(tmp_path):
    file = tmp_path / 'in.mp4'
    file.write_bytes(b'video')
    return file


def by_name(file):
    return file


def by_another_way(file):
    return file.parent / 'sub' / '..' / file.name


def by_a_link(file):
    link = file.parent / 'link.mp4'
    link.symlink_to(file)
    return link


def by_a_hard_link(file):
    link = file.parent / 'hard.mp4'
    os.link(file, link)
    return link


@pytest.mark.parametrize('other', [by_name, by_another_way, by_a_link, by_a_hard_link])
def test_an_output_is_no_input(video, other):
    (video.parent / 'sub').mkdir()
    with pytest.raises(FileError, match='would overwrite the input'):
        check_outputs([other(video)], [video])


def test_two_outputs_differ(tmp_path):
    with pytest.raises(FileError, match='would overwrite the output'):
        check_outputs([tmp_path / 'a.txt', None, tmp_path / 'x' / '..' / 'a.txt'])
    check_outputs([tmp_path / 'a.txt', tmp_path / 'b.txt'])


def test_existing_files_are_kept(video, tmp_path):
    with pytest.raises(FileError, match='exists already; .*--overwrite'):
        check_outputs([OutputFile(video)], overwrite=False)
    check_outputs([OutputFile(video)])
    (tmp_path / 'empty').touch()
    check_outputs([tmp_path / 'empty', tmp_path / 'new'], overwrite=False)


def test_files_of_write_protected_folders_are_not_replaced(video, monkeypatch):
    monkeypatch.setattr(
        'semidff.utils.tool_files.os.access', lambda path, mode: path != video.parent
    )
    with pytest.raises(FileError, match='is write-protected'):
        check_outputs([video])


@pytest.mark.parametrize(
    ('content', 'may'),
    [
        ({'mAP': 0.5}, True),
        ({'images': [], 'annotations': []}, False),
        ([1], False),
        ('text', False),
    ],
)
def test_a_report_replaces_a_report_only(tmp_path, content, may):
    file = tmp_path / 'r.json'
    file.write_text(json.dumps(content))
    if may:
        check_outputs([ReportFile(file)], overwrite=False)
    with pytest.raises(FileError, match='exists already'):
        check_outputs([(OutputFile if may else ReportFile)(file)], overwrite=False)


def test_detections_in_the_own_work_folder_are_replaced(tmp_path):
    for name in ('d.txt', 'last.pth'):
        (tmp_path / name).write_text('1 1 0.5 0 0 1 1\n')
    check_outputs([tmp_path / 'd.txt'], overwrite=False, own_folder=tmp_path)
    for name, folder in (('last.pth', tmp_path), ('d.txt', tmp_path / 'other'), ('d.txt', None)):
        with pytest.raises(FileError, match='exists already'):
            check_outputs([tmp_path / name], overwrite=False, own_folder=folder)


def test_only_regular_files(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path / 'pipe', '/dev/null'):
        with pytest.raises(FileError, match='neither a file nor a folder'):
            check_regular(path)
        with pytest.raises(FileError, match='neither a file nor a folder'):
            check_outputs([path])
    (tmp_path / 'folder.json').mkdir()
    with pytest.raises(FileError, match='is a folder'):
        check_outputs([tmp_path / 'folder.json'])
    (tmp_path / 'results.2026').mkdir()  # of an archive
    check_outputs([OutputVideo(tmp_path / 'results.2026')])
    for name in ('bad\udcff.mp4', 'bad\0.mp4'):
        with pytest.raises(FileError, match='UTF-8|null byte'):
            check_regular(name)


def test_marks_are_found_and_removed():
    value = [('a', InputFile('b')), OutputFile('c'), 3]
    assert list(marked(value, InputFile)) == ['b']
    plain = unmarked(value)
    assert plain == value and type(plain[0][1]) is str and type(plain[1]) is str
