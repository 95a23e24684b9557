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
from .checkpoint import to_checkpoint
from .names import NameMappingError
from .params_file import read_params

# Mean pixel value (red, green, blue) that the original subtracts. It divides by nothing.
MEAN, STD = (123.15, 115.90, 103.06), (1.0, 1.0, 1.0)


def convert_file(
    source: str | Path,
    out: str | Path,
    config: str | Path | None = None,
    parts: Sequence[str] | None = None,
    form: str | None = None,
    pass_over: Sequence[str] = (),
) -> list[str]:
    """Convert a ``.params`` file; on an error no file is written.

    Args:
        config: Config of the model that the weights must fit. Its box coder determines the divisor of the box weights,
            its head the number of box groups.
        parts: Parts to convert; None derives them from the names.
        form: Meaning of the box weights; None derives it.
        pass_over: Prefixes of unknown names that are skipped.

    Returns:
        Lines of a report, with the settings of the config that differ from the original's network.

    Raises:
        MXNetFileError: If the file is of another kind or damaged.
        NameMappingError: If its parameters are not those of the network.
        CheckpointError: If they do not fit the config's model.
        ConfigError: If the config has no model, or ``out`` is ``source``.
    """
    check_different(source, out)
    arrays = read_params(source)
    model = None if config is None else build_model(config)
    options = {} if model is None else _box_options(model)
    try:
        converted = to_checkpoint(arrays, parts, form, pass_over=pass_over, **options)
    except NameMappingError as error:
        raise NameMappingError(f'{source}: {error}') from None
    state, meta = converted.content['state_dict'], converted.content['meta']
    lines = converted.lines(source, out)
    if model is not None:
        full = {converted.prefix + key: value for key, value in state.items()}
        load_parts(model, full, converted.parts, source)
        lines += [f'note: {n}' for n in departures(model.cfg.model, 'caffe', MEAN, STD)]
    meta['mxnet']['source'] = Path(source).name
    write_checkpoint(state, meta, out)
    return lines


def _box_options(model: nn.Module) -> dict:
    """Return the options of ``to_checkpoint`` that the model's R-FCN head determines, none without such a head."""
    head = getattr(getattr(detector_of(model), 'roi_head', None), 'bbox_head', None)
    if not hasattr(head, 'conv_reg'):
        return {}
    coder = getattr(head, 'bbox_coder', None)
    if not hasattr(coder, 'means') or not hasattr(coder, 'stds'):
        raise ConfigError(
            f'the box coder of the config, {type(coder).__name__}, has no means and stds, which '
            'scale the box weights; use DeltaXYWHBBoxCoder'
        )
    bins = head.conv_cls.out_channels // (head.num_classes + 1)
    return dict(
        normalization=Normalization(tuple(coder.means), tuple(coder.stds)),
        box_groups=head.conv_reg.out_channels // (4 * bins),
    )
