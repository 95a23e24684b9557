"""Shallow copies of modules with other parts."""

import copy
from functools import partial
from typing import Any

from mmengine.config import ConfigDict
from torch import nn


def twin(module: nn.Module, **replacements: Any) -> nn.Module:
    """Return a shallow copy of a module in which some submodules, methods or attributes are replaced.

    Everything else is shared, the weights too. The module itself does not change, so that several threads can use it.
    A twin is short-lived: it does not follow later changes of the module's mode.
    """
    if hasattr(module, 'get_base'):
        # Where submodules are shared (RTMDet), PyTorch's exporter traces proxies, which cannot be copied.
        module = module.get_base()
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    copied._compiled_call_impl = None  # a compiled module would run its own forward, not the twin's
    for name, value in vars(module).items():
        if isinstance(value, partial) and value.args[:1] == (module,):
            setattr(copied, name, partial(value.func, copied))
    for name, value in replacements.items():
        setattr(copied, name, value)
    return copied


def with_test_cfg(detector: nn.Module, test_cfg: dict) -> nn.Module:
    """Return a twin of an mmdet detector with some of its test settings replaced.

    Args:
        detector: The detector.
        test_cfg: The settings, nested as in the detector's own ``test_cfg``: ``dict(rpn=dict(max_per_img=100))`` for
            a two-stage detector, ``dict(nms_pre=300)`` for others.

    Raises:
        ValueError: If the detector has no such setting.
    """
    two_stage = hasattr(detector, 'roi_head')
    one_stage = dict.fromkeys(('bbox_head', 'mask_head', 'panoptic_fusion_head'), '')
    sections = dict(rpn_head='rpn', roi_head='rcnn') if two_stage else one_stage
    sections = {
        k: v for k, v in sections.items() if getattr(getattr(detector, k, None), 'test_cfg', None)
    }
    given = test_cfg if two_stage or not sections else {'': test_cfg}
    unknown = list(given.keys() - set(sections.values()))
    heads = {}
    for name, section in sections.items():
        head, changes = getattr(detector, name), given.get(section, {})
        own = ConfigDict(head.test_cfg)
        if not isinstance(changes, dict):
            raise ValueError(f'the test settings {section} must be a dict, got {changes!r}')
        unknown += _unknown(changes, own, section)
        if changes:
            heads[name] = twin(head, test_cfg=ConfigDict(_merged(own, changes)))
    if unknown:
        raise ValueError(
            f'{type(detector).__name__} has no test setting {", ".join(sorted(set(unknown)))}; its test_cfg is '
            f'{getattr(detector, "test_cfg", None)}'
        )
    return twin(detector, **heads)


def _merged(own: dict, changes: dict) -> dict:
    """Merge nested settings; those of another ``type`` replace the detector's."""
    if changes.get('type', own.get('type')) != own.get('type'):
        return changes
    nested = {
        key: _merged(own[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(own.get(key), dict)
    }
    return {**copy.deepcopy(own), **changes, **nested}


def _unknown(changes: dict, own: dict, section: str) -> list[str]:
    """Return the names of the settings that do not exist; those of another ``type``, as of NMS, are not known."""
    if 'type' in changes:
        return []
    found = []
    for key, value in changes.items():
        name = f'{section}.{key}'.strip('.')
        if key not in own:
            found.append(name)
        elif isinstance(value, dict) and isinstance(own[key], dict):
            found += _unknown(value, own[key], name)
    return found
