"""Finders of modules: mmcv without compiled operators, changes of mmengine and mmdetection.

Importing this module imports neither mmcv, nor mmdetection, nor PyTorch.
"""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

OPERATORS = Path(__file__).with_name('torchvision_operators.py')


class MissingOperatorError(NotImplementedError):
    """An operator of mmcv that torchvision does not have."""


class OperatorFinder:
    """Replaces mmcv's compiled operators, ``mmcv._ext``, by torchvision's; Python asks it last.

    ``pip install onedl-mmcv`` installs Python code only; compiling it takes minutes, a C++ compiler
    and, for a GPU, nvcc. The operators of a compiled mmcv are used where there are any.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, OPERATORS) if name == 'mmcv._ext' else None


class FirstImport:
    """Completes modules of mmengine and mmdetection at their import; Python asks it first."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        packages = [package for package, users in _PUT_OFF.items() if name in users]
        if name not in _COMPLETE and not packages:
            return None
        others = (finder for finder in sys.meta_path if finder is not cls)
        spec = next(filter(None, (other.find_spec(name, path, target) for other in others)), None)
        if spec is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with ExitStack() as stack:
                    for package in packages:
                        stack.enter_context(_put_off(package))
                    _COMPLETE.get(name, _run)(module, run)

            spec.loader.exec_module = exec_module
        return spec


Run = Callable[[ModuleType], None]


def _run(module: ModuleType, run: Run) -> None:
    run(module)


def _run_quietly(module: ModuleType, run: Run) -> None:
    with redirect_stdout(io.StringIO()):
        run(module)


def _add_parts(registries: ModuleType, run: Run) -> None:
    """Let mmdetection's registries import the parts of this package at their first lookup."""
    run(registries)
    for registry in vars(registries).values():
        if getattr(registry, 'scope', None) == 'mmdet':
            registry._locations = [*registry._locations, 'semidff.registry']


def add_configs(configs: ModuleType, run: Run = lambda module: None) -> None:
    """Let mmengine read configs of this package: it does so only of the packages of this table."""
    run(configs)
    configs.MODULE2PACKAGE['semidff'] = 'semidff'


def _register_later(module: ModuleType, run: Run) -> None:
    """Let a registry of mmengine import FSDP at its first lookup."""
    run(module)
    from mmengine import registry

    for own, name in _FSDP.items():
        if own.startswith(f'{module.__name__}.'):
            parts = getattr(registry, name)
            parts._locations = [*parts._locations, own]


_FSDP = {
    'mmengine._strategy.fsdp': 'STRATEGIES',
    'mmengine.model.wrappers.fully_sharded_distributed': 'MODEL_WRAPPERS',
}
_COMPLETE = {
    'mmdet.registry': _add_parts,
    'mmengine._strategy': _register_later,
    'mmengine.model.wrappers': _register_later,
    'mmengine.config.utils': add_configs,
    # They print "Could not import OneDL", which no user can act on.
    'mmdet.datasets': _run_quietly,
    'mmseg.datasets': _run_quietly,
}

# Packages whose import takes long, and the modules that use them in some of their functions alone.
_PUT_OFF = {
    'imagecorruptions': ['mmdet.datasets.transforms.transforms'],
    'imgaug': ['mmdet.datasets.transforms.generate_line'],
    'matplotlib': ['mmdet.models.dense_heads.clr_head.clr_head', 'mmdet.utils.mot_error_visualize'],
    'scipy': [
        'mmdet.datasets.transforms.generate_line',
        'mmdet.evaluation.metrics.crowdhuman_metric',
        'mmdet.evaluation.metrics.culane_metric',
        'mmdet.models.dense_heads.clr_head.lane',
        'mmdet.models.task_modules.assigners.hungarian_assigner',
        'mmdet.models.task_modules.assigners.topk_hungarian_assigner',
        'mmdet.models.task_modules.tracking.aflink',
        'mmdet.models.task_modules.tracking.kalman_filter',
        'mmdet.models.trackers.sort_tracker',
    ],
    'tifffile': ['mmcv.image.io'],
    'torch._dynamo': ['torchvision.ops.roi_align'],
    'torch.distributed.fsdp': ['torch.distributed.optim.named_optimizer'],
    **{module: [module.rpartition('.')[0]] for module in _FSDP},
}


class _Later(ModuleType):
    """A module, or a function or class in it, that is imported when it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:  # a name that is imported from it
            return _Later(f'{self.__name__}.{name}')
        return getattr(resolve_name(self.__name__), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return resolve_name(self.__name__)(*args, **kwargs)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, resolve_name(self.__name__))

    def __mro_entries__(self, bases: tuple) -> tuple[type]:
        return (resolve_name(self.__name__),)


class _LaterFinder:
    """Finds all modules of a package as :class:`_Later`."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        own = f'{name}.'.startswith(f'{self.package}.')
        return ModuleSpec(name, self, is_package=True) if own else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing."""


@contextmanager
def _put_off(package: str) -> Iterator[None]:
    """Put off the import of a package in this context, unless it is imported already."""
    if find_spec(package) is None:
        yield
        return
    finder = _LaterFinder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _Later):
                del sys.modules[name]
                above, _, last = name.rpartition('.')
                if vars(sys.modules.get(above, module)).get(last) is module:
                    delattr(sys.modules[above], last)
