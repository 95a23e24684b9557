"""Files of the package, names of videos, and outputs that would destroy something."""

from pathlib import Path

import pytest

from semidff.utils.error_messages import FileError
from semidff.utils.files import (
    PROJECT,
    check_outputs,
    installed_file,
    unique_name,
    without_secrets,
)

CONFIG = 'configs/dff/dff_r101-original.py'


def test_files_of_the_package_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in (CONFIG, Path(CONFIG), 'semidff::dff/dff_r101-original.py'):
        assert installed_file(given) == str(PROJECT / CONFIG)
    assert installed_file('tools/train.py') == str(PROJECT / 'tools/train.py')
    for unknown in ('configs/none.py', '/none.py', str(tmp_path / CONFIG), 'configs/dff'):
        assert installed_file(unknown) == unknown
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    (tmp_path / CONFIG).touch()
    assert installed_file(CONFIG) == CONFIG, "the user's own file comes first"


def test_names_of_videos_stay_in_their_folder_and_differ():
    taken = set()
    names = [unique_name(name, taken) for name in ('a/b', 'a_b', '/etc/x', '../x', 'a_b')]
    assert names == ['a_b', 'a_b_1', 'etc_x', '.._x', 'a_b_2']
    for name in ('/', '..'):
        with pytest.raises(ValueError, match='which no file can have'):
            unique_name(name, set())


def test_an_output_is_no_input_and_no_other_output(tmp_path):
    video = tmp_path / 'in.mp4'
    video.write_bytes(b'video')
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'link.mp4').symlink_to(video)
    for other in (video, tmp_path / 'sub' / '..' / 'in.mp4', tmp_path / 'link.mp4'):
        with pytest.raises(FileError, match='would overwrite the input'):
            check_outputs([other], [video, None])
    with pytest.raises(FileError, match='would overwrite the output'):
        check_outputs([tmp_path / 'a.txt', None, tmp_path / 'x' / '..' / 'a.txt'])
    check_outputs([tmp_path / 'a.txt', tmp_path / 'b.txt'])


def test_existing_outputs_need_overwrite(tmp_path):
    (tmp_path / 'old.txt').touch()
    (tmp_path / 'empty').mkdir()
    check_outputs([tmp_path / 'empty', tmp_path / 'new'], overwrite=False)
    for used in (tmp_path / 'old.txt', tmp_path):
        with pytest.raises(FileError, match='exists already.*--overwrite'):
            check_outputs([used], overwrite=False)
        check_outputs([used])


@pytest.mark.parametrize(
    ('address', 'shown'),
    [
        ('rtsp:/' + '/me:secret@cam:554/live/1', 'rtsp://cam:554/live/1'),
        ('rtsp:/' + '/me:se/cret@cam/live', 'rtsp://cam/live'),
        ('rtsp:/' + '/me:se?cret@cam/live', 'rtsp://...'),
        ('rtsp://cam/user=me&password=secret&channel=1.sdp?real', 'rtsp://cam'),
        ('https://host/a.m3u8?token=secret#secret', 'https://host/a.m3u8'),
        ('srt://host:9000?passphrase=secret', 'srt://host:9000'),
        (Path('a@b?c=d.mp4'), 'a@b?c=d.mp4'),
    ],
)
def test_addresses_without_secrets(address, shown):
    assert without_secrets(address) == shown
