"""Choices of an adaptation from what the machine has."""

import pytest

from semidff.adaptation.planner import _memory


@pytest.mark.parametrize(
    ('folder', 'limit', 'used', 'stat'),
    [
        ('.', 'max', 'current', 'anon 7\ninactive_file 300\n'),
        (
            'memory',
            'limit_in_bytes',
            'usage_in_bytes',
            'inactive_file 5\ntotal_inactive_file 300\n',
        ),
    ],
)
def test_memory_within_the_limit_of_a_container(tmp_path, folder, limit, used, stat):
    machine = _memory(tmp_path)
    assert machine > 1000
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in ((limit, '5000\n'), (used, '4200\n'), ('stat', stat)):
        (tmp_path / folder / f'memory.{name}').write_text(text)
    assert _memory(tmp_path) == 5000 - 4200 + 300
    (tmp_path / folder / f'memory.{limit}').write_text('1000\n')  # lowered
    assert _memory(tmp_path) == 0
    (tmp_path / folder / f'memory.{limit}').write_text('max\n')
    assert _memory(tmp_path) > 1000
