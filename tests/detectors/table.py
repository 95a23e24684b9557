"""Table of the figures that ``tests/detectors/matrix.py`` has written: ``python -m tests.detectors.table FILE``."""

import json
import sys
from pathlib import Path

from semidff.utils.tables import markdown_table


def main(path: str) -> None:
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        name = line['check'].removeprefix('test_')
        detector = (
            line['case'].replace(f'-{line["split"]}', '').removesuffix(f'-{line.get("name")}')
        )
        keys = [
            key for key in ('deviation', 'ratio', 'speedup', 'exported', 'waits') if key in line
        ]
        cell = ', '.join(f'{line[key]:.3g}' for key in keys)
        rows.setdefault((detector, line['split']), {})[line.get('name', name)] = cell
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [(*key, *(row.get(column, '-') for column in columns)) for key, row in rows.items()]
    print(markdown_table([('detector', 'split', *columns), *cells]))


if __name__ == '__main__':
    main(sys.argv[1])
