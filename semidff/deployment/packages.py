"""Packages that only deployment needs, imported when they are."""

import importlib
from types import ModuleType


class MissingPackageError(ImportError):
    """A package of the extra ``onnx`` is not installed."""


def require(*names: str) -> ModuleType:
    """Imports packages of the extra ``onnx``; returns the first.

    Raises:
        MissingPackageError: If one is not installed, or cannot be imported.
    """
    try:
        return [importlib.import_module(name) for name in names][0]
    except ImportError as error:
        raise MissingPackageError(
            f'{", ".join(names)}: needed for ONNX and not there ({error}). It is part of the extra '
            "'onnx', which `make env` installs; elsewhere: pip install -c requirements.txt onnx onnxruntime onnxscript"
        ) from error
