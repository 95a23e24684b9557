"""Finders of modules: mmcv without compiled operators, and mmengine and mmdetection with the parts of this package.

Importing this module imports neither mmcv, nor mmdetection, nor PyTorch.
"""

import io
import sys
from contextlib import nullcontext, redirect_stdout
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

OPERATORS = Path(__file__).with_name('torchvision_operators.py')


class MissingOperatorError(NotImplementedError):
    """An operator of mmcv that torchvision does not have."""


class OperatorFinder:
    """Finds mmcv's compiled operators, ``mmcv._ext``, in those of torchvision; Python asks it last.

    ``pip install onedl-mmcv`` installs Python code only; compiling it takes minutes, a C++ compiler and, for a GPU,
    nvcc. The operators of a compiled mmcv are used where there are any.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, OPERATORS) if name == 'mmcv._ext' else None


class FirstImport:
    """Completes modules of mmengine and mmdetection when they are imported, and no others; Python asks it first."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in _COMPLETE:
            return None
        others = (finder for finder in sys.meta_path if finder is not cls)
        spec = next(filter(None, (other.find_spec(name, path, target) for other in others)), None)
        if spec is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                complete = _COMPLETE[name]
                with nullcontext() if complete else redirect_stdout(io.StringIO()):
                    run(module)
                if complete:
                    complete(module)

            spec.loader.exec_module = exec_module
        return spec


def _add_parts(registries: ModuleType) -> None:
    """Let mmdetection's registries import the parts of this package at their first lookup."""
    for registry in vars(registries).values():
        if getattr(registry, 'scope', None) == 'mmdet':
            registry._locations = [*registry._locations, 'semidff.registry']


def add_configs(configs: ModuleType) -> None:
    """Let mmengine read configs of this package: it does so only of the packages of this table."""
    configs.MODULE2PACKAGE['semidff'] = 'semidff'


_COMPLETE = {
    'mmdet.registry': _add_parts,
    'mmengine.config.utils': add_configs,
    # They print "Could not import OneDL", which no user can act on.
    'mmdet.datasets': None,
    'mmseg.datasets': None,
}
