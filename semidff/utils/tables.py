"""Tables for terminals, logs and Markdown files."""

from collections.abc import Sequence

from terminaltables import AsciiTable


def text_table(rows: Sequence[Sequence[str]], footer: bool = False) -> str:
    """Draw a table with borders; the first column is aligned left, all others right.

    The first row is the header; shorter rows end in empty cells. ``footer`` separates the last row
    by a line.
    """
    columns = len(rows[0])
    table = AsciiTable([[*row, *[''] * (columns - len(row))] for row in rows])
    table.justify_columns = dict.fromkeys(range(1, columns), 'right')
    table.inner_footing_row_border = footer
    return table.table


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Format a table in Markdown; the header is the first row; all columns but one align right."""
    lines = ['|' + '|'.join(f' {cell} ' if cell else ' ' for cell in row) + '|' for row in rows]
    lines.insert(1, '|---' + '|---:' * (len(rows[0]) - 1) + '|')
    return '\n'.join(lines)
