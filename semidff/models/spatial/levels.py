"""Names of feature levels."""

from collections.abc import Iterable, Mapping

from torch import Tensor


def numbered(name: str, maps: Iterable[Tensor]) -> dict[str, Tensor]:
    """Name the levels ``name_0``, ``name_1``, ..."""
    return {f'{name}_{index}': level for index, level in enumerate(maps)}


def levels(name: str, maps: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return the levels that :func:`numbered` named, from a mapping that may hold more."""
    found = []
    while (key := f'{name}_{len(found)}') in maps:
        found.append(maps[key])
    return tuple(found)
