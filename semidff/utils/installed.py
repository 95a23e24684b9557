"""Configs and tools, which an installed package holds too."""

from pathlib import Path

# In a checkout links to the folders configs/ and tools/ themselves.
PROJECT = Path(__file__).resolve().parents[1] / '.mim'


def installed_file(path: str | Path) -> str:
    """Return where a config or tool is: the path itself if it exists, else in the package.

    Args:
        path: ``configs/dff/dff_r101-original.py``, ``semidff::dff/dff_r101-original.py`` (the same in the package), or
            any other path, which is returned as it is.
    """
    name = str(path)
    if name.startswith('semidff::'):
        return str(PROJECT / 'configs' / name.removeprefix('semidff::'))
    inside = PROJECT / name
    if Path(name).exists() or Path(name).is_absolute() or not inside.is_file():
        return name
    return str(inside)
