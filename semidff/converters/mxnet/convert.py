"""Conversion of a file of the original (MXNet) into a checkpoint."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from semidff.converters.fit import (
    check_different,
    departures,
    detector_of,
    load_parts,
    write_checkpoint,
)
from semidff.utils.model_building import ConfigError, build_model

from .boxes import Normalization
from .checkpoint import Converted, full_names, to_checkpoint
from .names import NameMappingError
from .params_file import read_params

# Mean pixel value (red, green, blue) that the original subtracts. It divides by nothing.
MEAN, STD = (123.15, 115.90, 103.06), (1.0, 1.0, 1.0)


def convert_file(
    source: str | Path,
    out: str | Path,
    parts: Sequence[str] | None = None,
    form: str | None = None,
    config: str | Path | None = None,
    pass_over: Sequence[str] = (),
) -> tuple[Converted, list[str]]:
    """Convert a ``.params`` file; on an error no file is written.

    Args:
        source: The original's file.
        out: The checkpoint to write.
        parts: Parts to convert; None derives them from the names.
        form: Meaning of the box weights; None derives it.
        config: Config of the model that the weights must fit. Its box coder determines the divisor of the box weights,
            its head the number of box groups.
        pass_over: Prefixes of unknown names that are skipped.

    Returns:
        The conversion, and the settings of the config that differ from the original's network.

    Raises:
        MXNetFileError: If the file is of another kind or damaged.
        NameMappingError: If its parameters are not those of the network.
        CheckpointError: If they do not fit the config's model.
        ConfigError: If the config has no model.
    """
    check_different(source, out)
    arrays = read_params(source)
    model = None
    if config is not None:
        model = build_model(config)
    try:
        converted = to_checkpoint(
            arrays, parts, form, normalization_of(model), _box_groups(model), pass_over
        )
    except NameMappingError as error:
        raise NameMappingError(f'{source}: {error}') from None
    state, notes = converted.content['state_dict'], []
    if model is not None:
        load_parts(model, full_names(state), converted.parts, source)
        notes = departures(model.cfg.model, 'caffe', MEAN, STD)
    meta = converted.content['meta']
    meta['mxnet']['source'] = Path(source).name
    write_checkpoint(state, meta, out)
    return converted, notes


def normalization_of(model: nn.Module | None) -> Normalization | None:
    """Return the normalization of the box coder of a model's R-FCN head, None without such a head.

    Raises:
        ConfigError: If the box coder has no means and standard deviations.
    """
    head = _head(model)
    if head is None:
        return None
    coder = getattr(head, 'bbox_coder', None)
    if not hasattr(coder, 'means') or not hasattr(coder, 'stds'):
        raise ConfigError(
            f'the box coder of the config, {type(coder).__name__}, has no means and stds, which '
            'scale the box weights; use DeltaXYWHBBoxCoder'
        )
    return Normalization(*(tuple(map(float, values)) for values in (coder.means, coder.stds)))


def _box_groups(model: nn.Module | None) -> int:
    head = _head(model)
    if head is None:
        return 2
    bins = head.conv_cls.out_channels // (head.num_classes + 1)
    return head.conv_reg.out_channels // (4 * bins)


def _head(model: nn.Module | None) -> nn.Module | None:
    detector = None if model is None else detector_of(model)
    head = getattr(getattr(detector, 'roi_head', None), 'bbox_head', None)
    return head if hasattr(head, 'conv_reg') else None
