"""Weights of torchvision's ResNets -> a backbone's checkpoint.

mmdetection's backbone has torchvision's names (``style='pytorch'``), so only the classifier ``fc`` is in the way of
strict loading. What is checked is that the file is what it should be.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from mmdet.models import ResNet
from torch import Tensor

from semidff.utils.atomic_write import atomic_write
from semidff.utils.checkpoint import CheckpointError, load_strict, read_state_dict

from .fit import ConfigError, build_model, departures, detector_of, load_parts

# What torchvision's weights want, of pixels from 0 to 255: red, green, blue.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# residual units of the four stages, and whether they are bottlenecks
_DEPTHS = {
    (2, 2, 2, 2, False): 18,
    (3, 4, 6, 3, False): 34,
    (3, 4, 6, 3, True): 50,
    (3, 4, 23, 3, True): 101,
    (3, 8, 36, 3, True): 152,
}


class Backbone(NamedTuple):
    """A converted file.

    Attributes:
        depth: Layers of the ResNet.
        state: Weights by the backbone's names (``conv1.weight``).
        passed_over: Names in the file that are not there any more.
        notes: Settings of the config that these weights do not suit.
    """

    depth: int
    state: dict[str, Tensor]
    passed_over: list[str]
    notes: list[str]


def convert_file(source: str | Path, out: str | Path, config: str | Path | None = None) -> Backbone:
    """Converts a state dict of torchvision; on any error no file is written.

    Args:
        source: torchvision's ``.pth`` file.
        out: The checkpoint to write.
        config: Config whose model's backbone shall fit; stages that this backbone leaves out are passed over.

    Returns:
        What was converted.

    Raises:
        CheckpointError: If the file cannot be read, is of another network, or does not fit the config's model.
        ConfigError: If the config has no model with a backbone, or ``out`` is ``source``.
    """
    if Path(source).resolve() == Path(out).resolve():
        raise ConfigError(f'{out}: is the file that is read; write to another')
    given = read_state_dict(source)
    depth = depth_of(given, source)
    load_strict(ResNet(depth), source, f'ResNet-{depth}', ignore=('fc.',), state=given)
    left_out, notes = ['fc.'], []
    if config is not None:
        settings, model = build_model(config)
        backbone = getattr(detector_of(model), 'backbone', None)
        if not isinstance(backbone, ResNet):
            raise ConfigError(f'{config}: the model has no ResNet as backbone')
        left_out += [f'layer{stage}.' for stage in range(backbone.num_stages + 1, 5)]
        notes = departures(settings, 'pytorch', MEAN, STD)
    state = {key: value for key, value in given.items() if not key.startswith(tuple(left_out))}
    if config is not None:
        full = {f'spatial.detector.backbone.{key}': value for key, value in state.items()}
        load_parts(model, full, ('backbone',), source)
    with atomic_write(out, binary=True) as file:
        torch.save(dict(meta=dict(source=Path(source).name), state_dict=state), file)
    return Backbone(depth, state, [key for key in given if key not in state], notes)


def depth_of(state: Mapping[str, Tensor], source: str | Path) -> int:
    """Layers of the ResNet that weights are of.

    Raises:
        CheckpointError: If they are of none.
    """
    names = [key.split('.') for key in state]
    counts = tuple(len({n[1] for n in names if n[0] == f'layer{stage}'}) for stage in range(1, 5))
    depth = _DEPTHS.get((*counts, 'layer1.0.conv3.weight' in state))
    if depth is None:
        raise CheckpointError(
            f'{source}: not a ResNet-18, 34, 50, 101 or 152 of torchvision: its stages have '
            f'{counts} residual units, its names are {", ".join(list(state)[:4])}, ...'
        )
    return depth
