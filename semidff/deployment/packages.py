"""Import of packages that only deployment needs."""

import importlib
from types import ModuleType


class MissingPackageError(ImportError):
    """A package of the extra ``onnx`` is not installed."""


def require(*names: str) -> ModuleType:
    """Import packages of the extra ``onnx``; return the first.

    Raises:
        MissingPackageError: If one is not installed or cannot be imported.
    """
    try:
        return [importlib.import_module(name) for name in names][0]
    except ImportError as error:
        raise MissingPackageError(
            f'{", ".join(names)}: needed for ONNX and not installed ({error}). It is part of the extra '
            "'onnx', which `make env` installs; elsewhere: pip install -c requirements.txt onnx onnxruntime onnxscript"
        ) from error
