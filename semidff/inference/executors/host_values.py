"""What a function exchanges between host and device, recorded for CUDA graphs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Functions that make tensors of Python numbers, and the position of these among the arguments.
_MAKERS = {torch.tensor: 0, torch.as_tensor: 0, Tensor.new_tensor: 1}


class HostValues:
    """What the host reads from the device and sends to it, in the order of the calls.

    Neither is possible during a capture. It is recorded ahead of it, and must be the same for
    different frames, so that it depends on their size alone. Transformers of DETR's kind read the
    sizes of their maps from the device.

    Attributes:
        held: Tensors that the function used in its last call and did not make, such as constants in
            a cache: a captured graph needs them longer than the cache does.
    """

    def __init__(self) -> None:
        self.held: dict[int, Tensor] = {}
        self._values: list | None = None
        self._recording, self._nested, self._next = False, False, 0
        self._made: set[int] = set()

    def call(self, function: Callable, *inputs: Tensor, record: bool = False) -> Any:
        """Call a function, and record what is exchanged or give what was recorded."""
        self._recording, self._next, before = record, 0, self._values
        self.held, self._made = {}, set()
        if record:
            self._values = []
        with _Operators(self), _Makers(self):
            result = function(*inputs)
        if record and before is not None and not _same(before, self._values):
            raise RuntimeError('the host reads values that depend on the frame')
        return result

    def exchange(self, compute: Callable[[], Any]) -> Any:
        if self._nested:  # a function that makes a tensor calls an operator that copies it
            return compute()
        if self._recording:
            self._nested = True
            try:
                self._values.append(compute())
            finally:
                self._nested = False
        value = self._values[-1 if self._recording else self._next]
        self._next += 1
        return value.clone() if isinstance(value, Tensor) else value  # may be changed in place

    def note(self, used: Any, made: Any) -> None:
        """Note the arguments and the result of an operator."""
        for tensor in filter(torch.is_tensor, tree_leaves(used)):
            memory = tensor.untyped_storage()._cdata
            if memory not in self._made:
                self.held[memory] = tensor
        self._made |= {t.untyped_storage()._cdata for t in tree_leaves(made) if torch.is_tensor(t)}


class _Operators(TorchDispatchMode):
    def __init__(self, values: HostValues) -> None:
        super().__init__()
        self._values = values

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        operator, target = func.overloadpacket, kwargs.get('device')
        if operator is torch.ops.aten._local_scalar_dense or (
            operator is torch.ops.aten._to_copy
            and target is not None
            and torch.device(target).type != args[0].device.type
        ):
            return self._values.exchange(lambda: func(*args, **kwargs))
        result = func(*args, **kwargs)
        self._values.note((args, kwargs), result)
        return result


class _Makers(TorchFunctionMode):
    def __init__(self, values: HostValues) -> None:
        super().__init__()
        self._values = values

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _MAKERS:
            first = args[_MAKERS[func] :][:1]
            if not (first and isinstance(first[0], Tensor)):
                return self._values.exchange(lambda: func(*args, **kwargs))
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            args = (args[0], self._on_device(args[1], args[0].device), *args[2:])
        if func is torch.linspace:  # reads its limits itself
            args = [a.item() if isinstance(a, Tensor) else a for a in args]
        return func(*args, **kwargs)

    def _on_device(self, index: Any, device: torch.device) -> Any:
        """Return an index whose lists are tensors: ``maps[:, [0]]`` sends a list."""
        if isinstance(index, tuple):
            return tuple(self._on_device(part, device) for part in index)
        if not isinstance(index, list):
            return index
        return self._values.exchange(lambda: torch.tensor(index, device=device))


def _same(some: list, others: list) -> bool:
    pairs = zip(some, others, strict=False)
    equal = (torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)
    return len(some) == len(others) and all(equal)
