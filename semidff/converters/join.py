"""Assembly of a checkpoint from parts of others."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from semidff.utils.checkpoint import CheckpointError, read_checkpoint, stored_classes
from semidff.utils.tool_files import CheckpointFile

from .fit import write_checkpoint


class Part(NamedTuple):
    """A part of a model and the source of its weights.

    Attributes:
        name: Dotted name of the module in the new checkpoint.
        checkpoint: File with its weights.
        prefix: Name of the module in that file; empty if the file holds nothing else.
    """

    name: str
    checkpoint: str
    prefix: str = ''

    @classmethod
    def parse(cls, text: str) -> 'Part':
        """Parse ``NAME=FILE`` or ``NAME=FILE:PREFIX``; raise ValueError for another form."""
        name, equals, source = text.partition('=')
        checkpoint, _, prefix = source.partition(':')
        if not (name and equals and checkpoint):
            raise ValueError(f'{text!r}: expected NAME=FILE or NAME=FILE:PREFIX')
        return cls(name, CheckpointFile(checkpoint), prefix)


def join_checkpoints(parts: Sequence[Part], out: str | Path) -> dict[str, Tensor]:
    """Write a checkpoint that consists of parts of others, with their class names.

    A temporal module detects nothing: the class names of its checkpoint do not matter.

    Returns:
        The weights.

    Raises:
        CheckpointError: If a file cannot be read or has no weights under a part's prefix, or if two parts were trained
            for different classes.
    """
    joined: dict[str, Tensor] = {}
    names: dict[tuple[str, ...], str] = {}
    for part in parts:
        prefix = f'{part.prefix}.' if part.prefix else ''
        state, meta = read_checkpoint(part.checkpoint)
        chosen = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if not chosen:
            raise CheckpointError(f'{part.checkpoint}: no weights under {part.prefix!r}')
        joined |= {f'{part.name}.{key}': value for key, value in chosen.items()}
        if (classes := stored_classes(meta)) and part.name.partition('.')[0] != 'temporal':
            names.setdefault(classes, part.checkpoint)
    if len(names) > 1:
        listed = '\n'.join(f'  {file}: {list(classes)}' for classes, file in names.items())
        raise CheckpointError(f'the parts were trained for different classes:\n{listed}')
    classes = next(iter(names), None)
    write_checkpoint(joined, dict(dataset_meta=dict(classes=classes)) if classes else {}, out)
    return joined
