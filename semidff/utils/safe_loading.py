"""Unpickling of checkpoint files that cannot run code.

``weights_only=True`` admits tensors and plain data. The checkpoints of mmengine's Runner hold two kinds of objects
more, which are admitted here: histories of logged scalars (NumPy arrays) and the annealing functions of one-cycle
schedules. mmengine itself falls back to unsafe unpickling where ``weights_only`` fails, and downloads are read
unsafely throughout; importing this module replaces both functions, so that ``load_from``, ``--resume`` and
``init_cfg`` are covered as well. :func:`trusted` is the only way to unsafe unpickling.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pickle import UnpicklingError
from typing import Any

import mmengine.runner.checkpoint as mmengine_checkpoint
import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler

_METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def _method(owner: type, name: str) -> Callable:
    """Stand in for ``getattr``, by which pickles refer to methods; the real one reaches any function."""
    if name not in _METHODS.get(owner, ()):
        raise UnpicklingError(f'Unsupported global: GLOBAL getattr (of {owner}, {name!r})')
    return getattr(owner, name)


_ARRAYS = np._core.multiarray
ALLOWED = [
    *_METHODS,
    (_method, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in '?bhilqBHILQefdUS'},
    # under the names of NumPy 2 and 1
    *((getattr(_ARRAYS, name), f'numpy.{core}.multiarray.{name}')
      for name in ('_reconstruct', 'scalar') for core in ('_core', 'core')),
]  # fmt: skip


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, unsafe to load, or of another model."""


_trust: ContextVar[bool] = ContextVar('trust', default=False)


@contextmanager
def trusted(trust: bool = True) -> Iterator[None]:
    """Load checkpoints without restrictions while the context lasts: code in them runs, with a warning for each file.

    Args:
        trust: False changes nothing.
    """
    token = _trust.set(trust or _trust.get())
    try:
        yield
    finally:
        _trust.reset(token)


def _load(read: Callable, source: Any, map_location: Any = None, **options: Any) -> Any:
    """Load a file of ``torch.save`` without running code that may be in it.

    Args:
        read: Function of PyTorch.
        source: Path, open file or URL.
        map_location: As in ``torch.load``.
        options: Other arguments of ``read``.

    Raises:
        CheckpointError: If the file cannot be read or downloaded, is damaged, or holds other objects than tensors,
            plain data and the state of mmengine's Runner.
    """
    safe = not _trust.get()
    if not safe:
        warnings.warn(f'{source}: loaded with --trust; code in it is run', stacklevel=2)
    try:
        with torch.serialization.safe_globals(ALLOWED):
            return read(source, map_location=map_location, weights_only=safe, **options)
    except OSError as error:
        raise CheckpointError(f'{source}: cannot be read or downloaded ({error})') from error
    except Exception as error:  # unpicklers raise nearly anything on a broken file
        reason = str(error).rpartition('WeightsUnpickler error:')[2].strip() or 'no content'
        if foreign := re.search(r'GLOBAL (\S+)|unrecognized function (.*)', reason):
            raise CheckpointError(
                f'{source}: refused, because it holds {foreign[1] or foreign[2]}, and loading that could run code. If '
                'you trust the file, give --trust (trust=True in Python); for experiments and curves, which do not '
                'have this option, save its state_dict alone'
            ) from error
        raise CheckpointError(
            f'{source}: cannot be read as a checkpoint ({type(error).__name__}: {reason.splitlines()[0]}); the file '
            'is damaged, incomplete or of another kind'
        ) from error


load_file = partial(_load, torch.load)

# All loaders of mmengine, of files as of addresses, pass one of these two functions.
mmengine_checkpoint._safe_torch_load = load_file
mmengine_checkpoint.load_url = partial(_load, torch.hub.load_state_dict_from_url)
