"""Configs of image detectors, by file or by the name of a model of mmdet."""

import io
import json
import warnings
from contextlib import redirect_stdout, suppress
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from mmengine.config import Config
from mmengine.fileio import load
from mmengine.logging import MMLogger

from semidff.utils.configs import import_extras, read_config, settings_of
from semidff.utils.error_messages import ConfigError, first_names
from semidff.utils.files import installed_file


def read_model(name: str | Path, cfg_options: dict | None = None, **options: bool) -> Config:
    """Read the config of a model: a file, or the name of an image detector."""
    if Path(installed_file(name)).is_file():
        return read_config(name, cfg_options, **options)
    config = read_detector(str(name), warn=False)
    config.merge_from_dict(cfg_options or {})
    return config


def read_detector(name: str, warn: bool) -> Config:
    """Read the config of an image detector, without the settings that load pre-trained weights.

    Args:
        name: A config file of the user, of this project or of an installed package
            (``mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py``, also without package, folder or
            suffix), or the name or alias of a model of mmdet, as for its ``DetInferencer``
            (``rtmdet-t``).
        warn: Whether to warn that the weights are random, with the address of the published
            checkpoint.
    """
    path = _config_file(name)
    config = read_config(path)
    model = config.get('model')
    if not model:
        raise ConfigError(f'{name}: has no model; give the config of an image detector')
    if 'detector' in model:
        raise ConfigError(
            f'{name}: is the config of a {model.type}, which contains a detector; give that of an '
            'image detector'
        )
    if 'data_preprocessor' in config:  # as mmengine's Runner does
        model.setdefault('data_preprocessor', config.data_preprocessor)
    if 'data_preprocessor' not in model:
        raise ConfigError(
            f'{name}: has no model.data_preprocessor, without which frames are not normalized '
            '(configs of mmdetection 2.x have their normalization in the pipeline): add one'
        )
    _check_pipelines(config, name)
    if (scope := config.get('default_scope', 'mmdet')) != 'mmdet':
        import_extras(config)
        dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
        for part in (model, dataset, *(dataset.get('pipeline') or ())):
            part.setdefault('_scope_', scope)
    _drop_pretrained(model)
    if warn:
        url = published_weights(name)
        remedy = f'set checkpoint to a file or to {url}' if url else 'set checkpoint'
        warnings.warn(f'detector={name!r} has random weights; {remedy}', stacklevel=3)
    return config


def config_text(path: str) -> str:
    """Return a config and that of its detector as resolved JSON, without comments."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')  # without mmengine's message for each variable
    try:
        with redirect_stdout(io.StringIO()):
            config = read_model(path, import_custom_modules=False)
    finally:
        logger.setLevel(level)
    found = [config.to_dict()]
    detector = (config.get('model') or {}).get('detector')
    if isinstance(detector, str):
        with suppress(ConfigError):  # it does not exist, or not yet
            found.append(read_detector(detector, warn=False).model.to_dict())
    return ''.join(json.dumps(s, sort_keys=True, default=str, ensure_ascii=False) for s in found)


def published_weights(name: str) -> str:
    """Return the address of mmdetection's weights for a detector; empty if unknown."""
    path = _config_file(name)
    urls = (entry.get('Weights') for entry in _index() if _file(entry) == path)
    return next(filter(None, urls), '')


def resolve_detector(config: Config, keep_checkpoint: bool) -> None:
    """Replace the name of a video detector's image detector by its config.

    ``detector_dataset`` becomes the test data set of the detector's config: pipeline and class
    names for predictions of a config without test data.

    Args:
        config: The config, changed in place.
        keep_checkpoint: Whether ``model.checkpoint`` gives the detector its weights; a warning says
            if there is none. Otherwise all weights are loaded from another checkpoint, and
            ``model.checkpoint`` is removed.
    """
    model = config.get('model') or {}
    if model.get('temporal'):
        _check_pipelines(config, 'the config')
    if 'detector' in model and not keep_checkpoint:
        model.pop('checkpoint', None)
    name = model.get('detector')
    if not isinstance(name, str):
        return
    own = read_detector(name, warn=keep_checkpoint and not gives_detector_weights(config))
    model['detector'] = own.model
    imports = dict.fromkeys((*imports_of(own), *imports_of(config)))
    config.custom_imports = dict(config.get('custom_imports') or {}, imports=list(imports))
    config.detector_dataset = (own.get('test_dataloader') or {}).get('dataset') or {}


def gives_detector_weights(config: Config) -> bool:
    """Return whether a training config names weights for the whole image detector."""
    parts = [entry.get('part', '') for entry in (config.get('load_parts') or {}).values()]
    model = config.get('model') or {}
    detector = model.get('detector')
    return bool(
        model.get('checkpoint')
        or config.get('load_from')
        or {'', 'spatial', 'spatial.detector'}.intersection(parts)
        or (isinstance(detector, dict) and detector.get('init_cfg'))
    )


def imports_of(config: Config) -> list[str]:
    """Return the modules that a config imports to register their parts."""
    imports = (config.get('custom_imports') or {}).get('imports') or []
    return [imports] if isinstance(imports, str) else list(imports)


def test_datasets(config: Config) -> list[dict]:
    """Return the test data sets of a config and of its image detector's config.

    Of data sets that are repeated or concatenated, this is the first one inside.
    """
    own = (config.get('test_dataloader') or {}).get('dataset') or {}
    found = [own, config.get('detector_dataset') or {}]
    return [inner for dataset in found if (inner := inner_dataset(dataset))]


def inner_dataset(dataset: dict) -> dict:
    """Return the data set, or the first of several, inside of mmengine's wrappers."""
    while 'pipeline' not in dataset and (
        inner := dataset.get('datasets') or dataset.get('dataset')
    ):
        dataset = inner[0] if isinstance(inner, list | tuple) else inner
    return dataset


def transform_name(step: dict) -> str:
    """Return the type of a step of a pipeline without its scope: ``Resize`` of ``mmdet.Resize``."""
    return str(step.get('type')).rpartition('.')[2]


def _config_file(name: str) -> Path:
    package, _, inside = name.rpartition('::')
    if package in ('', 'semidff') and (path := Path(installed_file(name))).is_file():
        return path
    folder = _folder(package or 'mmdet')
    for path in (folder / 'configs' / inside, folder / inside):
        if path.is_file():
            return path
    known: dict[str, Path] = {}
    for entry in _index() if package in ('', 'mmdet') else ():
        aliases = entry.get('Alias') or []
        aliases = [aliases] if isinstance(aliases, str) else aliases
        for alias in (entry['Name'], *aliases, _file(entry).stem):
            known.setdefault(alias.lower(), _file(entry))
    wanted = inside.lower().removesuffix('.py')
    if wanted not in known:  # the index lacks some
        files = (folder / 'configs').rglob('*.py')
        known |= {file.stem.lower(): file for file in files if '_base_' not in file.parts}
    if wanted in known:
        return known[wanted]
    if package or inside.endswith('.py'):  # names of models may have dots
        raise ConfigError(f'{name}: there is no such config of an image detector')
    names = [one for one in sorted(known, key=len) if not one.endswith('_tta')]  # without model
    longer = [one for one in names if one.replace('-', '_').startswith(wanted.replace('-', '_'))]
    similar = first_names(longer or get_close_matches(wanted, names)) or 'none'
    raise ConfigError(
        f'{name}: is neither a file nor a model of mmdetection; similar names: {similar}'
    )


@cache
def _index() -> tuple[dict, ...]:
    folder = _folder('mmdet')
    files = load(folder / 'model-index.yml')['Import']
    return tuple(model for file in files for model in load(folder / file)['Models'])


def _file(entry: dict) -> Path:
    return _folder('mmdet') / unquote(entry['Config'])


def _folder(package: str) -> Path:
    """Return where an installed package, or a checkout of it, has its configs."""
    spec = find_spec(package)
    if spec is None:
        raise ConfigError(f'{package}:: the package is not installed')
    installed = Path(spec.submodule_search_locations[0])
    return installed / '.mim' if (installed / '.mim').is_dir() else installed.parent


def _check_pipelines(config: Config, name: str) -> None:
    """Refuse normalization in the pipeline: the flow network needs the preprocessor's std."""
    for key, value in settings_of(config):
        if isinstance(value, dict) and transform_name(value) == 'Normalize':
            raise ConfigError(
                f'{name}: {key} normalizes in the pipeline, where the flow network cannot undo it: '
                'move mean and std to model.data_preprocessor, to_rgb as its bgr_to_rgb'
            )


def _drop_pretrained(settings: object) -> None:
    """Remove settings that read or download weights; a teacher (LD) is read from its file."""
    if isinstance(settings, list | tuple):
        for item in settings:
            _drop_pretrained(item)
    elif isinstance(settings, dict):
        init = settings.get('init_cfg') or []
        cfgs = init if isinstance(init, list | tuple) else [init]
        if any('checkpoint' in cfg for cfg in cfgs):
            settings['init_cfg'] = [cfg for cfg in cfgs if 'checkpoint' not in cfg] or None
        for name in ('pretrained', 'teacher_ckpt'):
            settings.pop(name, None)
        if isinstance(teacher := settings.get('teacher_config'), str):
            path = Path(teacher) if Path(teacher).is_file() else _folder('mmdet') / teacher
            settings['teacher_config'] = dict(model=read_config(path).model)
        for item in settings.values():
            _drop_pretrained(item)
