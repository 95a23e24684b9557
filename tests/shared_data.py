"""Development data that stands beside the repository and is not part of the project."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / 'shared'


def shared(relative: str) -> Path:
    """Path of a file or folder of the development data; skips the calling test without it."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f'needs the development data {relative}, which is not beside the repository')
    return path
