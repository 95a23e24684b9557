"""Finders of modules: mmcv without compiled operators, and the parts of this package in mmdetection's registries.

Importing this module imports neither mmcv, nor mmdetection, nor PyTorch.
"""

import sys
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


class RegistryFinder:
    """Registers the parts of this package if mmdetection is imported after it; Python asks it first.

    mmdetection's registries import the modules of their ``locations`` at the first lookup. This finder adds
    ``semidff.registry`` to them as soon as ``mmdet.registry`` exists; it finds no other module.
    """

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != 'mmdet.registry':
            return None
        others = (finder for finder in sys.meta_path if finder is not cls)
        spec = next(filter(None, (other.find_spec(name, path, target) for other in others)), None)
        if spec is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                for registry in vars(module).values():
                    if getattr(registry, 'scope', None) == 'mmdet':
                        registry._locations = [*registry._locations, 'semidff.registry']

            spec.loader.exec_module = exec_module
        return spec
