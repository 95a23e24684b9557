"""Reading of config files, and checks of values, which are refused before a run with the key and the value."""

import math
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .error_messages import ConfigError, short

LARGEST_INPUT = 1 << 27  # pixels that a transform may resize to

_DICT, _LIST, _EITHER = dict, (list, tuple), (dict, list, tuple)
# Types of settings that may also be None.
_KINDS = {
    'model': _DICT, 'model.detector': (dict, str), 'model.temporal': _DICT,
    'model.data_preprocessor': _DICT,
    **{f'{name}_dataloader': _DICT for name in ('train', 'val', 'test')},
    **{f'{name}_dataloader.dataset': _DICT for name in ('train', 'val', 'test')},
    **{f'{name}_cfg': _DICT for name in ('train', 'val', 'test', 'env')},
    'val_evaluator': _EITHER, 'test_evaluator': _EITHER, 'param_scheduler': _EITHER,
    'train_cfg.steps': _LIST, 'custom_hooks': _LIST, 'optim_wrapper': _DICT, 'default_hooks': _DICT,
    'visualizer': _DICT, 'log_processor': _DICT, 'randomness': _DICT, 'randomness.seed': int,
    'model_wrapper_cfg': _DICT, 'custom_imports': _DICT, 'auto_scale_lr': _DICT, 'load_parts': _DICT,
    'load_from': str, 'work_dir': str, 'experiment_name': str, 'default_scope': str, 'resume': bool,
    'test_cfg.fp16': bool, 'test_cfg.warmup': int,
}  # fmt: skip
_NAMES = {dict: 'a dict', str: 'a text', int: 'an integer', bool: 'True or False', list: 'a list'}


def read_file(path: str, **options: bool) -> Config:
    """Read a config file.

    Args:
        options: Arguments of ``Config.fromfile``.

    Raises:
        ConfigError: If there is no such file, or it is no config.
    """
    if not Path(path).is_file():
        raise ConfigError(f'{path}: there is no such config')
    try:
        config = Config.fromfile(path, **options)
        if config._imported_names:  # a pure Python config: dotted names in place of its classes
            config = Config(config.to_dict(), filename=config.filename)
            for key, value in settings_of(config):
                if key.endswith('.nms') and 'type' in (value or ()):  # mmcv evaluates the bare name
                    value['type'] = value['type'].rpartition('.')[2]
        return config
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # whatever the code of the config raises
        raise ConfigError(f'{path}: is no config ({type(error).__name__}: {error})') from error


def check_kinds(config: Config) -> None:
    """Refuse settings of another type than mmengine and this package need.

    Raises:
        ConfigError: The message has the key and the value.
    """
    for key, kinds in _KINDS.items():
        value = _setting(config, key)
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        wrong_flag = isinstance(value, bool) and bool not in kinds
        if value is not None and (wrong_flag or not isinstance(value, kinds)):
            expected = ' or '.join(_NAMES[kind] for kind in kinds if kind in _NAMES)
            raise ConfigError(f'{key} is {short(value)}; it must be {expected}')
    for key, of in (('train_cfg.steps', 'a list of dicts'), ('load_parts', 'a dict of dicts')):
        entries = _setting(config, key) or ()
        if wrong := [
            entry
            for entry in (entries.values() if isinstance(entries, dict) else entries)
            if not isinstance(entry, dict)
        ]:
            raise ConfigError(f'{key} has {short(wrong[0])}; it must be {of}')


def check_values(config: Config) -> None:
    """Refuse values that no setting of their name can have.

    Raises:
        ConfigError: The message has the key and the value.
    """
    for key, value in settings_of(config):
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError(f'{key} is nan; give a number')
        name = key.rpartition('.')[2]
        valid, expected = _VALUES.get(name, (None, ''))
        if valid is not None and not isinstance(value, dict) and not valid(value):
            raise ConfigError(f'{key} is {short(value)}; it must be {expected}')
        if isinstance(value, dict) and 'ann_file' in value and value.get('pipeline') in ([], ()):
            raise ConfigError(
                f'{key}.pipeline is empty; give at least a transform that loads images'
            )
        if isinstance(value, dict) and str(value.get('type')).endswith('Resize'):
            _check_scale(key, value)


def import_extras(settings: Any) -> None:
    """Import mmsegmentation if a config, or a part of one, names parts of it.

    Raises:
        ConfigError: If it is not installed.
    """
    for key, value in settings_of(settings):
        kind = key.rpartition('.')[2] in ('type', '_scope_', 'default_scope')
        if kind and str(value).partition('.')[0] == 'mmseg':
            import_module('semidff.utils.mmseg_extra')


def settings_of(value: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values of nested dicts, lists and tuples."""
    if key:
        yield key, value
    items: Any = ()
    if isinstance(value, dict | Config):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for name, item in items:
        yield from settings_of(item, f'{key}.{name}' if key else str(name))


def _setting(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split('.'):
        value = value.get(name) if isinstance(value, dict | Config) else None
    return value


def number(low: float = -math.inf, high: float = math.inf) -> Callable[[Any], bool]:
    """Return a check for finite numbers in a range."""
    return lambda value: (
        type(value) in (int, float) and low <= value <= high and abs(value) < math.inf
    )


def whole(low: float = -math.inf, high: float = math.inf) -> Callable[[Any], bool]:
    """Return a check for integers in a range."""
    return lambda value: type(value) is int and low <= value <= high


def _text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _each(valid: Any) -> Any:
    return lambda value: (
        value is None or (isinstance(value, list | tuple) and all(map(valid, value)))
    )


_VALUES = {
    'lr': (number(0), 'a finite number, 0 or more'),
    'flow_scale': (number(math.ulp(0)), 'a finite number above 0'),
    'pad_size_divisor': (whole(1), 'an integer of at least 1'),
    'batch_size': (lambda value: value is None or whole(1)(value), 'an integer of at least 1'),
    'num_workers': (whole(0), 'an integer, 0 or more'),
    'num_classes': (whole(0), 'an integer, 0 or more'),
    'score_thr': (number(), 'a finite number'),
    'iou_threshold': (number(0, 1), 'a number from 0 to 1'),
    'max_per_img': (whole(-1), 'an integer; -1 for all'),
    'nms_pre': (whole(-1), 'an integer; -1 for all'),
    'interval': (whole(-1), 'an integer'),
    'max_keep_ckpts': (whole(-1), 'an integer; -1 for all'),
    'window': (whole(2), 'an integer of at least 2'),
    'dataset': (lambda value: value is None or not isinstance(value, str | int | float), 'a dict'),
    'pipeline': (_each(lambda value: isinstance(value, dict)), 'a list of dicts'),
    'ann_file': (_text, 'a text'),
    'data_prefix': (lambda value: value is None or isinstance(value, str), 'a dict'),
    'nms': (lambda value: value is None, 'a dict'),
    'classes': (lambda value: value is None or bool(value), 'names'),
    'method': (_text, 'a text'),
    'custom_hooks': (_each(lambda value: isinstance(value, dict)), 'a list of dicts'),
}


def _check_scale(key: str, transform: dict) -> None:
    """Check the sizes to which a transform resizes."""
    for name in ('scale', 'scales'):
        given = transform.get(name)
        if isinstance(given, str):
            raise ConfigError(f'{key}.{name} is {given!r}; it must be sides above 0, in pixels')
        given = given if isinstance(given, list | tuple) else ()
        sizes = given if given and isinstance(given[0], list | tuple) else [given]
        for size in filter(None, sizes):
            if not all(type(side) in (int, float) and side > 0 for side in size):
                raise ConfigError(f'{key}.{name} is {given}; it must be sides above 0, in pixels')
            if len(size) == 2 and LARGEST_INPUT < size[0] * size[1] < math.inf:
                raise ConfigError(
                    f'{key}.{name} is {given}: more than {LARGEST_INPUT} pixels; give a smaller size'
                )
