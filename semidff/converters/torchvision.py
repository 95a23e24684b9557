"""Conversion of the weights of torchvision's ResNets into a backbone's checkpoint.

mmdetection's backbone with ``style='pytorch'`` has torchvision's names. The conversion removes the classifier ``fc``,
which prevents strict loading, and checks that the file holds a ResNet.
"""

from pathlib import Path

from mmdet.models import ResNet
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck

from semidff.utils.checkpoint import CheckpointError, load_strict, read_state_dict
from semidff.utils.model_building import ConfigError, build_model

from .fit import departures, detector_of, load_parts, write_checkpoint

# Mean and standard deviation (red, green, blue) for pixels from 0 to 255.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def convert_file(
    source: str | Path, out: str | Path, config: str | Path | None = None
) -> list[str]:
    """Convert a state dict of torchvision; on an error no file is written.

    Args:
        config: Config of the model whose backbone the weights must fit. Stages that this backbone lacks are skipped.

    Raises:
        CheckpointError: If the file cannot be read, is of another network, or does not fit the config's model.
        ConfigError: If the config has no model with a backbone.
    """
    given = read_state_dict(source)
    names = [key.split('.') for key in given]
    counts = tuple(len({n[1] for n in names if n[0] == f'layer{stage}'}) for stage in range(1, 5))
    block = Bottleneck if 'layer1.0.conv3.weight' in given else BasicBlock
    depth = next((d for d, unit in ResNet.arch_settings.items() if unit == (block, counts)), None)
    if depth is None:
        raise CheckpointError(
            f'{source}: not a ResNet-18, 34, 50, 101 or 152 of torchvision: its stages have '
            f'{counts} residual units, its names are {", ".join(list(given)[:4])}, ...'
        )
    load_strict(ResNet(depth), source, f'ResNet-{depth}', ignore=('fc.',), state=given)
    left_out, notes = ['fc.'], []
    if config is not None:
        model = build_model(config)
        backbone = getattr(detector_of(model), 'backbone', None)
        if not isinstance(backbone, ResNet):
            raise ConfigError(f'{config}: the model has no ResNet as backbone')
        left_out += [f'layer{stage}.' for stage in range(backbone.num_stages + 1, 5)]
        notes = departures(model.cfg.model, 'pytorch', MEAN, STD)
    state = {key: value for key, value in given.items() if not key.startswith(tuple(left_out))}
    if config is not None:
        full = {f'spatial.detector.backbone.{key}': value for key, value in state.items()}
        load_parts(model, full, ('backbone',), source)
    write_checkpoint(state, {'source': Path(source).name}, out)
    skipped = [key for key in given if key not in state]
    listed = [f'passed over: {len(skipped)} ({", ".join(skipped[:4])})'] if skipped else []
    notes = [f'note: {note}' for note in notes]
    return [f'{source}: ResNet-{depth}', *listed, f'{out}: {len(state)} tensors', *notes]
