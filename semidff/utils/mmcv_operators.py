"""Lets mmcv work without its compiled operators, ``mmcv._ext``: those of torchvision take their place.

``pip install onedl-mmcv`` installs Python code only; compiling it takes minutes, a C++ compiler and, for a GPU, nvcc.
Importing this module, which does not import PyTorch, prepares ``import mmcv.ops``, so it has to come first. The
operators of a compiled mmcv are used where there are any.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

OPERATORS = Path(__file__).with_name('torchvision_operators.py')


class MissingOperatorError(NotImplementedError):
    """An operator of mmcv that torchvision does not have."""


class OperatorFinder:
    """A finder of modules; Python asks it last, for what is not in an installed package."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, OPERATORS) if name == 'mmcv._ext' else None


if OperatorFinder not in sys.meta_path:
    sys.meta_path.append(OperatorFinder)
