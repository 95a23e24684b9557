"""Configs and tools, which an installed package holds too."""

from pathlib import Path

from semidff.utils.deprecation import renamed_file

# In a checkout links to the folders configs/ and tools/ themselves.
PROJECT = Path(__file__).resolve().parents[1] / '.mim'


def installed_file(path: str | Path) -> str:
    """Return where a config or tool is: the path itself if it exists, else in the package.

    Args:
        path: ``configs/dff/dff_r101-original.py``, ``semidff::dff/dff_r101-original.py`` (the same in the package), a
            former name of such a file, or any other path, which is returned as it is.
    """
    name = str(path)
    if name.startswith('semidff::'):
        name = renamed_file(f'configs/{name.removeprefix("semidff::")}')
        return str(PROJECT / name)
    name = renamed_file(name)
    inside = PROJECT / name
    if Path(name).exists() or Path(name).is_absolute() or not inside.is_file():
        return name
    return str(inside)
