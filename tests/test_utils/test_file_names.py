"""Names of files after names of videos."""

import pytest

from semidff.utils.file_names import unique_name


def test_names_stay_in_their_folder_and_differ():
    taken = set()
    names = [unique_name(name, taken) for name in ('a/b', 'a_b', '/etc/x', '../x', 'a_b')]
    assert names == ['a_b', 'a_b_1', 'etc_x', '.._x', 'a_b_2']


@pytest.mark.parametrize('name', ['', '/', '.', '..', '../'])
def test_names_of_other_folders_are_refused(name):
    with pytest.raises(ValueError, match='which no file can have'):
        unique_name(name, set())
