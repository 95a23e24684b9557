import pytest

from semidff.utils.tables import markdown_table, text_table

ROWS = [('method', 'mAP', 'fps'), ('frame', '41.03', '2.1'), ('propagate', '40.5', '11.8')]


def test_text_table_aligns_columns():
    assert text_table(ROWS).splitlines() == [
        '+-----------+-------+------+',
        '| method    |   mAP |  fps |',
        '+-----------+-------+------+',
        '| frame     | 41.03 |  2.1 |',
        '| propagate |  40.5 | 11.8 |',
        '+-----------+-------+------+',
    ]


def test_text_table_with_footer_and_short_rows():
    lines = text_table([*ROWS, ('mean',)], footer=True).splitlines()
    assert lines[-3:-1] == [lines[0], '| mean      |       |      |']


@pytest.mark.parametrize('rows', [ROWS, ROWS[:1]])
def test_markdown_table_has_the_alignment_below_the_header(rows):
    lines = markdown_table(rows).splitlines()
    assert lines[:2] == ['| method | mAP | fps |', '|---|---:|---:|']
    assert lines[2:] == [f'| {a} | {b} | {c} |' for a, b, c in rows[1:]]
