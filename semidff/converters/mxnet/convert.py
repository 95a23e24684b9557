"""Files of the original (MXNet) -> checkpoints, and back."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from semidff.converters.fit import ConfigError, build_model, departures, detector_of, load_parts
from semidff.utils.atomic_write import atomic_write
from semidff.utils.checkpoint import read_checkpoint

from .boxes import Normalization
from .checkpoint import Converted, full_names, to_checkpoint, to_params
from .names import NameMappingError
from .params_file import read_params, write_params

# Pixel values that the original subtracts: red, green, blue; it divides by nothing.
MEAN, STD = (123.15, 115.90, 103.06), (1.0, 1.0, 1.0)


def convert_file(
    source: str | Path,
    out: str | Path,
    parts: Sequence[str] | None = None,
    form: str | None = None,
    config: str | Path | None = None,
    pass_over: Sequence[str] = (),
) -> tuple[Converted, list[str]]:
    """Converts a ``.params`` file; on any error no file is written.

    Args:
        source: The original's file.
        out: The checkpoint to write.
        parts: Parts to convert; None finds them by the names.
        form: Meaning of the box weights; None finds it.
        config: Config whose model shall fit; its box coder says by what the box weights are divided, and its head how
            many box groups there are.
        pass_over: Beginnings of names that the file may have beside the known ones.

    Returns:
        What was converted, and settings of the config with which it is another network than the original's.

    Raises:
        MXNetFileError: If the file is of another kind or damaged.
        NameMappingError: If its parameters are not those of the network.
        CheckpointError: If they do not fit the config's model.
        ConfigError: If the config has no model.
    """
    _check_different(source, out)
    arrays = read_params(source)
    settings, model = {}, None
    if config is not None:
        settings, model = build_model(config)
    try:
        converted = to_checkpoint(
            arrays, parts, form, normalization_of(model), _box_groups(model), pass_over
        )
    except NameMappingError as error:
        raise NameMappingError(f'{source}: {error}') from None
    notes = []
    if model is not None:
        state, _ = full_names(converted.content['state_dict'])
        load_parts(model, state, converted.parts, source)
        notes = departures(settings, 'caffe', MEAN, STD)
    converted.content['meta']['mxnet']['source'] = Path(source).name
    with atomic_write(out, binary=True) as file:
        torch.save(converted.content, file)
    return converted, notes


def revert_file(
    source: str | Path,
    out: str | Path,
    parts: Sequence[str] | None = None,
    form: str | None = None,
    config: str | Path | None = None,
    layout: str = 'v2',
) -> Converted:
    """Converts a checkpoint back into a ``.params`` file; on any error no file is written.

    Args:
        source: A checkpoint of :func:`convert_file` or of a training.
        out: The file to write.
        parts: Parts to convert; None takes all that are there.
        form: What the box weights shall mean; None gives the source's form back.
        config: Config whose box coder says by what the box weights are multiplied.
        layout: Layout of the file's records.

    Returns:
        What was converted.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
        NameMappingError: If it is of another network.
        ConfigError: If the config has no model.
    """
    _check_different(source, out)
    model = None if config is None else build_model(config)[1]
    try:
        converted = to_params(*read_checkpoint(source), parts, form, normalization_of(model))
    except NameMappingError as error:
        raise NameMappingError(f'{source}: {error}') from None
    write_params(out, converted.content, layout)
    return converted


def normalization_of(model: nn.Module | None) -> Normalization | None:
    """Means and deviations of the box coder of a model's R-FCN head.

    Raises:
        ConfigError: If the head's coder has none.
    """
    head = _head(model)
    if head is None:
        return None
    coder = getattr(head, 'bbox_coder', None)
    if not hasattr(coder, 'means') or not hasattr(coder, 'stds'):
        raise ConfigError(
            f'the box coder of the config, {type(coder).__name__}, has no means and stds, so how '
            'the box weights are to be scaled is not known; use DeltaXYWHBBoxCoder'
        )
    return Normalization(*(tuple(map(float, values)) for values in (coder.means, coder.stds)))


def _box_groups(model: nn.Module | None) -> int:
    head = _head(model)
    if head is None:
        return 2
    classes = head.conv_cls.out_channels // (head.num_classes + 1)  # bins of a class
    return head.conv_reg.out_channels // (4 * classes)


def _head(model: nn.Module | None) -> nn.Module | None:
    detector = None if model is None else detector_of(model)
    head = getattr(getattr(detector, 'roi_head', None), 'bbox_head', None)
    return head if hasattr(head, 'conv_reg') else None


def _check_different(source: str | Path, out: str | Path) -> None:
    if Path(source).resolve() == Path(out).resolve():
        raise ConfigError(f'{out}: is the file that is read; write to another')
