"""Memory that is used again instead of being fetched from the system anew."""

import ctypes
import os

import torch

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = -1
_GROWTH = 64 << 20  # bytes by which the process grows at least, when it must
_SETTINGS = ('GLIBC_TUNABLES', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_', 'MALLOC_MMAP_MAX_')


def keep_freed_memory() -> bool:
    """Makes this process keep the memory that it frees, for networks that compute on the CPU.

    glibc hands every large block back to the system when it is freed. A network frees and allocates the same maps in
    every iteration, and the system must clear each of their pages anew: a fifth of a training's time. Kept, the
    process stays as large as it once was. Call it before the first tensors; doing it again changes nothing. A
    user's own settings of the same things in the environment (``GLIBC_TUNABLES``, ``MALLOC_MMAP_MAX_``,
    ``MALLOC_TOP_PAD_``, ``MALLOC_TRIM_THRESHOLD_``) are respected.

    Returns:
        Whether memory is kept now: False with a GPU, without glibc, and where the environment has settings of its own.
    """
    if torch.cuda.is_available() or any(name in os.environ for name in _SETTINGS):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:  # another C library than glibc
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: _GROWTH}
    accepted = [mallopt(name, value) for name, value in settings.items()]
    return all(accepted)
