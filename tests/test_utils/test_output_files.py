"""No tool destroys what it reads, another output, or an existing file."""

import pytest

from semidff.utils.error_messages import FileError
from semidff.utils.output_files import check_outputs


@pytest.fixture
def video(tmp_path):
    file = tmp_path / 'in.mp4'
    file.write_bytes(b'video')
    return file


def test_an_output_is_no_input(video, tmp_path):
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'link.mp4').symlink_to(video)
    for other in (video, tmp_path / 'sub' / '..' / 'in.mp4', tmp_path / 'link.mp4'):
        with pytest.raises(FileError, match='would overwrite the input'):
            check_outputs([other], [video, None])


def test_two_outputs_differ(tmp_path):
    with pytest.raises(FileError, match='would overwrite the output'):
        check_outputs([tmp_path / 'a.txt', None, tmp_path / 'x' / '..' / 'a.txt'])
    check_outputs([tmp_path / 'a.txt', tmp_path / 'b.txt'])


def test_existing_outputs_need_overwrite(video, tmp_path):
    (tmp_path / 'empty').mkdir()
    check_outputs([tmp_path / 'empty', tmp_path / 'new'], overwrite=False)
    for used in (video, tmp_path):
        with pytest.raises(FileError, match='exists already.*--overwrite'):
            check_outputs([used], overwrite=False)
        check_outputs([used])
