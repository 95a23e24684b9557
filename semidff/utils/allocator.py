"""Setting of glibc's allocator for networks on the CPU."""

import ctypes
import os

import torch

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_SETTINGS = ('GLIBC_TUNABLES', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_', 'MALLOC_MMAP_MAX_')


def keep_freed_memory(device: str) -> bool:
    """Make this process reuse the memory that it frees; return whether it does.

    glibc returns every large block to the system when it is freed. A network frees and allocates
    the same maps in every iteration, and the system has to clear their pages each time, which takes
    a fifth of the training time. The process does not shrink any more. Call the function before the
    first tensors; further calls change nothing. The environment variables ``GLIBC_TUNABLES``,
    ``MALLOC_MMAP_MAX_``, ``MALLOC_TOP_PAD_`` and ``MALLOC_TRIM_THRESHOLD_`` take precedence;
    networks on a GPU and other libraries than glibc change nothing.
    """
    if torch.device(device).type != 'cpu' or any(name in os.environ for name in _SETTINGS):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:  # not glibc
        return False
    # Never trim; grow by at least 64 MiB.
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 64 << 20}
    accepted = [mallopt(name, value) for name, value in settings.items()]
    return all(accepted)
