"""The points of DFF's Table 5, in small, at which a tiny detector is cut."""

import torch

from tests.tiny.models import CLASSES, tiny_semi_dff, tiny_video_detector

MAPS = 2 * 2 + 2 * 4 + (CLASSES + 1) * 9 + 4 * 9


def resnet(unit: str) -> dict:
    return dict(type='ResNetSplit', task_from=unit)


# Split and channels of what is propagated: the paper's 21, 12, 5, 1 and 0 layers on a ResNet-18.
SPLITS = {
    '21': (resnet('layer3.1'), 32),
    '12': (resnet('layer4.0'), 32),
    '5': (resnet('layer4.1'), 64),
    '1': (None, 32),
    '0': (dict(type='OutputSplit'), MAPS),
}


def cut(name, make=tiny_video_detector):
    model = make(split=SPLITS[name][0])
    open_residuals(model)
    if make is tiny_semi_dff:
        model.reset_teacher()
    return model


def open_residuals(model):
    """Residual branches start at zero, which would make units with equal maps the identity."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.3, 0.9, generator=generator)
