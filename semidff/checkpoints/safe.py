"""Unpickling of checkpoint files that cannot run code.

``weights_only=True`` of ``torch.load`` admits tensors, plain data and the classes of an allow-list.
The list gets here what checkpoints of mmengine's Runner and of other projects hold: histories of
logged scalars (NumPy arrays), the annealing functions of one-cycle schedules, and harmless classes
of the standard library. mmengine falls back to unsafe unpickling where ``weights_only`` fails, and
reads downloads unsafely throughout; :func:`safe_loading` forbids both. :func:`trusted` is the only
way to unsafe unpickling.
"""

import argparse
import datetime
import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pickle import UnpicklingError
from threading import Lock
from typing import Any

import mmengine.runner.checkpoint as mmengine_checkpoint
import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler

from semidff.utils.error_messages import foreign_object, refusal

_METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}


def _method(owner: type, name: str) -> Callable:
    """Stand in for ``getattr``, by which pickles refer to methods and could reach any function."""
    if name not in _METHODS.get(owner, ()):
        raise UnpicklingError(f'Unsupported global: GLOBAL getattr (of {owner}, {name!r})')
    return getattr(owner, name)


def _plain_dict(*factory: type) -> dict:
    """Stand in for ``defaultdict``, into which the safe unpickler puts no entries."""
    return {}


_ARRAYS = np._core.multiarray
_ALLOWED = [
    *_METHODS,
    (_method, 'builtins.getattr'),
    (_plain_dict, 'collections.defaultdict'),
    *(dict, list, set, int, float, str),  # factories of a defaultdict
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in '?bhilqBHILQefdUS'},
    # under the names of NumPy 2 and 1
    *((getattr(_ARRAYS, name), f'numpy.{core}.multiarray.{name}')
      for name in ('_reconstruct', 'scalar') for core in ('_core', 'core')),
    argparse.Namespace,
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
    # under the names of Python 3.13 and of other versions
    *((path, f'{module}.{path.__name__}')
      for path in (pathlib.PurePosixPath, pathlib.PosixPath)
      for module in ('pathlib', 'pathlib._local')),
]  # fmt: skip


# mmengine's own list has the real getattr, and what it adds it removes again, while another thread
# may need it.
mmengine_checkpoint.get_torch_safe_globals = list
torch.serialization.add_safe_globals(_ALLOWED)


@mmengine_checkpoint.CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Load a checkpoint file as mmengine does, or a file of safetensors."""
    if not filename.endswith('.safetensors'):
        return mmengine_checkpoint.load_from_local(filename, map_location)
    from safetensors.torch import load_file

    return load_file(filename)


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, unsafe to load, or of another model."""


_FORCED = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'  # read by torch.load
_before: list[str | None] = []  # its values at the beginning of each context
_lock = Lock()
_trust: ContextVar[bool] = ContextVar('trust', default=False)


@contextmanager
def trusted(trust: bool = True) -> Iterator[None]:
    """Allow code in checkpoints to run while the context lasts; False changes nothing."""
    token = _trust.set(trust or _trust.get())
    try:
        yield
    finally:
        _trust.reset(token)


@contextmanager
def safe_loading() -> Iterator[None]:
    """Make ``torch.load`` refuse code in all threads, except in :func:`trusted`."""
    torch.serialization.add_safe_globals(_ALLOWED)
    if _trust.get():
        yield
        return
    with _lock:
        _before.append(os.environ.get(_FORCED))
        os.environ[_FORCED] = '1'
    try:
        yield
    finally:
        with _lock:
            before = _before.pop()
            if not _before:  # the last context restores what the first one found
                os.environ.pop(_FORCED, None)
                if before is not None:
                    os.environ[_FORCED] = before


@contextmanager
def readable(source: object) -> Iterator[None]:
    """Load a checkpoint safely; its errors become a :class:`CheckpointError` of one sentence."""
    try:
        with safe_loading():
            yield
    except OSError as error:
        raise CheckpointError(f'{source}: cannot be read or downloaded ({error})') from error
    except Exception as error:  # unpicklers raise nearly anything on a broken file
        if foreign := foreign_object(error):
            raise CheckpointError(f'{source}: {refusal(foreign)}') from error
        reason = str(error).rpartition('WeightsUnpickler error:')[2].strip() or 'no content'
        raise CheckpointError(
            f'{source}: cannot be read as a checkpoint ({type(error).__name__}: '
            f'{reason.splitlines()[0]}); the file is damaged, incomplete or of another kind'
        ) from error
