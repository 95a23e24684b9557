"""Puts a checkpoint together from parts of others."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from semidff.utils.atomic_write import atomic_write
from semidff.utils.checkpoint import CheckpointError, read_state_dict


class Part(NamedTuple):
    """A part of a model and where its weights come from.

    Attributes:
        name: Dotted name of the module in the new checkpoint.
        checkpoint: The file that holds its weights.
        prefix: The module's name in that file; empty if the file holds nothing else.
    """

    name: str
    checkpoint: str
    prefix: str = ''

    @classmethod
    def parse(cls, text: str) -> 'Part':
        """Reads ``NAME=FILE`` or ``NAME=FILE:PREFIX``.

        Raises:
            ValueError: If the text is of another form.
        """
        name, equals, source = text.partition('=')
        checkpoint, _, prefix = source.partition(':')
        if not (name and equals and checkpoint):
            raise ValueError(f'{text!r}: expected NAME=FILE or NAME=FILE:PREFIX')
        return cls(name, checkpoint, prefix)


def join_checkpoints(parts: Sequence[Part], out: str | Path) -> dict[str, Tensor]:
    """Writes a checkpoint made of parts of others, in one move.

    Args:
        parts: The parts.
        out: The file to write.

    Returns:
        The weights.

    Raises:
        CheckpointError: If a file cannot be read or has no weights under a part's prefix.
    """
    joined = {}
    for part in parts:
        prefix = f'{part.prefix}.' if part.prefix else ''
        state = read_state_dict(part.checkpoint)
        chosen = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if not chosen:
            raise CheckpointError(f'{part.checkpoint}: no weights under {part.prefix!r}')
        joined |= {f'{part.name}.{key}': value for key, value in chosen.items()}
    with atomic_write(out, binary=True) as file:
        torch.save(dict(meta={}, state_dict=joined), file)
    return joined
