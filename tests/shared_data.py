"""Data of the tests: in tests/data, or optional and outside the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = os.environ.get('SEMIDFF_TEST_DATA') or ROOT.parent / 'shared'


def shared(relative: str) -> Path:
    """Path of a file or folder below tests/data, else of the optional data; skips the calling test
    without it.
    """
    for folder in (ROOT / 'tests' / 'data', Path(OPTIONAL)):
        if (folder / relative).exists():
            return folder / relative
    pytest.skip(
        f'{relative} is optional: it is neither in tests/data nor in {OPTIONAL} (SEMIDFF_TEST_DATA)'
    )
