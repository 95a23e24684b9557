"""Counts what makes the host wait for a GPU; on a CPU as well, from the operators that are called."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# The host reads a value, or the size of the result depends on values.
_READS = ('_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'unique_dim', 'is_nonzero')
_INDEXED = ('index', 'index_put', 'index_put_', '_index_put_impl_')
_NO_KERNEL = ('empty', 'empty_strided', 'new_empty', 'empty_like', 'detach', 'lift_fresh', 'alias')
# Functions that copy to the host, and those that copy Python numbers to the device.
_TO_HOST = ('cpu', 'numpy', '__array__', 'tolist')
_FROM_HOST = ('tensor', 'new_tensor', 'as_tensor', 'from_numpy', 'asarray')


class HostRoundTrips(TorchDispatchMode):
    """Context in which host round trips are counted.

    Attributes:
        found: Counts of round trips by operator. Each of them is a synchronization, and illegal while a CUDA graph is
            captured.
        kernels: Number of operators that compute something: all but views and allocations.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.kernels = 0
        self._functions = _Functions(self.found)

    def __enter__(self) -> 'HostRoundTrips':
        self._functions.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._functions.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        sizes_from_values = name == 'repeat_interleave' and kwargs.get('output_size') is None
        if name in _READS or sizes_from_values or (name in _INDEXED and _has_masks(args[1])):
            self.found[name] += 1
        elif name == '_to_copy' and kwargs.get('device') not in (None, args[0].device):
            self.found['to another device'] += 1
        view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        self.kernels += not view and name not in _NO_KERNEL
        return func(*args, **kwargs)


class _Functions(TorchFunctionMode):
    """Counts copies between host and device that are none on a CPU."""

    def __init__(self, found: Counter) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        copied = name in _FROM_HOST and not isinstance(args[-1], Tensor)
        # tensor[[2, 1, 0]], tensor[array]
        listed = name in ('__getitem__', '__setitem__') and _has_lists(args[1])
        if copied or listed or name in _TO_HOST:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def _has_masks(indices: Any) -> bool:
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)


def _has_lists(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, list) or hasattr(part, '__array_interface__') for part in parts)
