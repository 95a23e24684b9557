"""A GPU simulated on the CPU, for tests: tensors that say they are on ``cuda:0``, and CUDA graphs
that are replayed.

In the context of :func:`simulated_gpu`, as on a GPU:

- Tensors of both devices do not mix, but for scalars.
- The host waits where it reads a value, sends one, or needs the size of a result that depends on
  values; that is an error during a capture. torchvision's ``nms`` reads a size, and the forward
  pass of its ``ps_roi_align`` synchronizes the device, but neither does its gradient nor
  ``ps_roi_pool`` (its CUDA sources).
- A copy to pinned memory that does not block leaves garbage there until the host waits.
- A graph is the list of captured operators with the memory that they read and wrote; a replay
  repeats them. What they wrote is garbage until then. Memory that a graph reads becomes garbage as
  soon as no tensor holds it.
- An error ends a capture, behind which ``torch.cuda.graph``, PyTorch's own, leaves the capture's
  stream current.

Not simulated: the order of streams, backward passes, operators compiled by mmcv, in-place changes
of a shape.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import compress
from typing import Any
from unittest.mock import patch
from weakref import WeakSet, WeakValueDictionary, finalize

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device('cuda', 0)
# The host reads a value, or the size of the result depends on values.
_READS = (
    '_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'unique_dim',
    'unique_consecutive', 'equal', 'bincount', 'nms', 'ps_roi_align',
)  # fmt: skip
_INDEXED = ('index', 'index_put', 'index_put_', '_index_put_impl_')
_FAILED = 'operation failed due to a previous error during capture'


class SimulatedGPU:
    """The device.

    Attributes:
        kernels: Number of operators outside graphs that compute something: all but views and
            allocations.
        waits: How often the host waited for the device, by operator.
        replays: Number of replays; ``captures`` and ``failed_captures`` likewise.
        graphs: The graphs that are alive.
        allocated: Bytes of memory that tensors and graphs hold.
        capture_limit: Bytes that a capture may allocate; None: any number.
    """

    def __init__(self) -> None:
        self.allocated, self.graphs = 0, WeakSet()
        self.capturing, self.copies = [], []  # copies to the host that are not waited for
        self.memory = WeakValueDictionary()  # by storage
        self.reset()

    def reset(self) -> None:
        """Set the counts to zero, and remove the limit."""
        self.kernels = self.replays = self.captures = self.failed_captures = 0
        self.waits, self.capture_limit = Counter(), None

    def wait(self, operator: str) -> None:
        self.waits[operator] += 1
        for graph in self.capturing:
            if graph is _THREAD.graph or graph.error_mode == 'global':
                graph.invalid = True
                raise RuntimeError(f'operation not permitted when stream is capturing: {operator}')
        copies, self.copies = self.copies, []
        for host, values in copies:
            host.copy_(values)


class _Memory:
    """Memory of the device, in use as long as a tensor or a graph refers to it."""

    def __init__(self, size: int) -> None:
        self.size = size
        GPU.allocated += size

    def __del__(self) -> None:
        GPU.allocated -= self.size


class DeviceTensor(Tensor):
    """A tensor on the device, whose values are those of ``host``."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> 'DeviceTensor':
        strides = host.size(), host.stride(), host.storage_offset()
        self = Tensor._make_wrapper_subclass(cls, *strides, dtype=host.dtype, device=CUDA)
        storage = host.untyped_storage()
        self.host, self.memory = host, GPU.memory.get(storage._cdata)
        if self.memory is None:
            self.memory = GPU.memory[storage._cdata] = _Memory(storage.nbytes())
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict) -> 'DeviceTensor':
        if id(self) not in memo:
            memo[id(self)] = copied = self.detach().clone().requires_grad_(self.requires_grad)
            copied._is_param = getattr(self, '_is_param', False)
        return memo[id(self)]

    def tolist(self) -> list:
        return self.cpu().tolist()

    def __repr__(self) -> str:
        return f'DeviceTensor({self.host})'


class _Mode(TorchDispatchMode):
    """Sees the operators of a thread that make tensors of none, ``torch.tensor(...,
    device='cuda')`` included.
    """

    def __enter__(self) -> '_Mode':
        self.lifts = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self.lifts)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Sees functions that send lists to the device, of indices or of numbers there, out of sight of
    other modes.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        indexing = func in (Tensor.__getitem__, Tensor.__setitem__)
        _THREAD.indexing = indexing and isinstance(args[0], DeviceTensor)
        if func in (torch.tensor, Tensor.new_tensor) and isinstance(args[-1], list | tuple):
            numbers = tree_map(lambda x: x.item() if isinstance(x, DeviceTensor) else x, args[-1])
            args = (*args[:-1], numbers)
        return func(*args, **(kwargs or {}))


class Stream:
    """Stream or event; operators run as they are called."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.record = self.wait = self.wait_stream = self.wait_event = lambda *_: None
        self.device, self.record_event = CUDA, lambda event=None: event or Stream()

    def synchronize(self) -> None:
        GPU.wait('synchronize')


class Graph:
    """CUDA graph: operators, the memory that is its own, and while it is captured, other memory."""

    def capture_begin(self, *pool: Any, capture_error_mode: str = 'global', **_: Any) -> None:
        self.error_mode, self.invalid, self.out_of_memory = capture_error_mode, False, False
        self.tape, self.made, self.read, self.overwritten = [], set(), {}, []
        _THREAD.graph = self
        GPU.capturing.append(self)

    def note(self, func: Any, args: tuple, tensors: list[DeviceTensor]) -> None:
        """Note what an operator is going to read and to overwrite."""
        if self.invalid:
            raise RuntimeError(_FAILED)
        self.read |= {t.memory: t.host for t in tensors if t.memory not in self.made}
        written = (a.alias_info and a.alias_info.is_write for a in func._schema.arguments)
        for host in filter(torch.is_tensor, tree_leaves([*compress(args, written)])):
            self.overwritten.append((host, host.clone()))

    def add(self, func: Any, args: tuple, kwargs: dict, results: list[DeviceTensor]) -> None:
        """Add an operator, with its arguments on the host."""
        known = self.made | self.read.keys()
        new = [result.host if result.memory not in known else None for result in results]
        self.made |= {result.memory for result in results} - self.read.keys()
        self.tape.append((func, args, kwargs, new))
        if GPU.capture_limit is not None and sum(m.size for m in self.made) > GPU.capture_limit:
            self.out_of_memory = True
            raise torch.OutOfMemoryError('CUDA out of memory')

    def capture_end(self) -> None:
        _THREAD.graph = None
        GPU.capturing.remove(self)
        GPU.failed_captures += self.invalid or self.out_of_memory
        if self.invalid:
            raise RuntimeError(_FAILED)
        GPU.captures += not self.out_of_memory
        GPU.graphs.add(self)
        for host, before in reversed(self.overwritten):
            host.copy_(before)  # a capture computes nothing
        for *_, new in self.tape:
            _spoil(*new)
        for memory, host in self.read.items():
            whole = torch.empty(0, dtype=host.dtype).set_(host.untyped_storage())
            finalize(memory, _spoil, whole).atexit = False
        self.read, self.overwritten = {}, []

    def replay(self) -> None:
        GPU.replays += 1
        with torch._C._DisableTorchDispatch(), torch.inference_mode(False), torch.no_grad():
            for func, args, kwargs, new in self.tape:
                found = filter(torch.is_tensor, tree_leaves(func(*args, **kwargs)))
                for host, result in zip(new, found, strict=False):
                    if host is not None:
                        host.copy_(result)


class _Thread(threading.local):
    stream, graph, indexing = Stream(), None, False


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operator, on the device if one of its tensors is there or its result has to be."""
    if torch.is_inference_mode_enabled() and func._can_decompose():
        with _Mode():
            return func.decompose(*args, **kwargs)
    name, target, graph = func.overloadpacket.__name__, kwargs.get('device'), _THREAD.graph
    if name == 'lift_fresh' and _THREAD.indexing and args[0].dim():
        GPU.wait('list')
        return DeviceTensor(args[0])
    tensors = [*filter(torch.is_tensor, tree_leaves((args, kwargs)))]
    there = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    here = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
    to_device = bool(there) if target is None else torch.device(target).type == 'cuda'
    if name == 'copy_':
        to_device = isinstance(args[0], DeviceTensor)
    if not there and not to_device:
        return _run_on_host(name, func, args, kwargs)
    pending = _exchange(name, args, kwargs, here, bool(there) and not to_device) and graph is None
    wrappers = {id(tensor.host): tensor for tensor in there}
    args, kwargs = tree_map(lambda leaf: getattr(leaf, 'host', leaf), (args, kwargs))
    if graph is not None:
        graph.note(func, args, there)
    if target is not None:
        kwargs['device'] = torch.device('cpu')
    with torch.inference_mode(False), torch.no_grad():
        out = func(*args, **kwargs)
        if pending:
            GPU.copies.append((out, out.clone()))
        if pending or 'empty' in name:
            _spoil(out)
    view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
    if graph is None:
        GPU.kernels += not view and 'empty' not in name

    def wrap(leaf: Any) -> Any:
        own = wrappers.get(id(leaf))
        if own is None:
            return DeviceTensor(leaf) if isinstance(leaf, Tensor) else leaf
        assert (own.shape, own.stride()) == (leaf.shape, leaf.stride()), f'{func} is not simulated'
        return own

    if to_device:
        normal = view and not there[0].is_inference()  # views of normal tensors are normal
        with torch.inference_mode(torch.is_inference_mode_enabled() and not normal):
            out = tree_map(wrap, out)
    if graph is not None:
        graph.add(func, args, kwargs, [t for t in tree_leaves(out) if isinstance(t, DeviceTensor)])
    return out


def _run_on_host(name: str, func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operator on the host, whose pinned memory is marked."""
    if name == 'is_pinned':
        return hasattr(args[0].untyped_storage(), 'pinned_here')
    if name == '_pin_memory':
        return _run_on_host('', torch.ops.aten.clone, args, dict(pin_memory=True))
    pinned = kwargs.pop('pin_memory', False)
    out = func(*args, **kwargs)
    if pinned:
        out.untyped_storage().pinned_here = True
    return out


def _exchange(name: str, args: tuple, kwargs: dict, here: list[Tensor], to_host: bool) -> bool:
    """Wait where an operator needs the host; return whether it is a copy to the host that does not
    block.
    """
    if name in ('_to_copy', 'copy_', '_foreach_copy_'):
        blocks = not (kwargs.get('non_blocking') or args[2:] == (True,))
        blocks |= not all(hasattr(tensor.untyped_storage(), 'pinned_here') for tensor in here)
        if blocks and (here or to_host):
            GPU.wait(name)
        return to_host and not blocks
    indices = [index for index in args[1] if index is not None] if name in _INDEXED else []
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    if len(masks) == len(indices) == 1 and here and here[0] is args[-1]:
        return False  # tensor[mask] = number
    sizes = name == 'repeat_interleave' and kwargs.get('output_size') is None and len(args) < 2
    if name in _READS or masks or sizes:
        GPU.wait(name)
    for tensor in here:
        if tensor.dim() and not any(tensor is index for index in indices):
            raise RuntimeError(f'tensors are not on the same device, but on cuda:0 and cpu: {name}')
        if indices or name == 'where':
            GPU.wait(f'{name} with a tensor of the host')
    return False


def _spoil(*tensors: Tensor | None) -> None:
    with torch._C._DisableTorchDispatch(), torch.inference_mode(False), torch.no_grad():
        for tensor in filter(torch.is_tensor, tensors):
            tensor.fill_(float('nan') if tensor.is_floating_point() else 113)


@contextmanager
def simulated_gpu() -> Iterator[SimulatedGPU]:
    """Context in which PyTorch has a GPU; its caches can be used in later contexts."""
    returned = dict(
        _lazy_init=None, is_available=True, is_initialized=True, device_count=1, current_device=0,
        set_device=None, _exchange_device=0, _maybe_exchange_device=0, graph_pool_handle=(0, 1),
        get_device_capability=(9, 0), get_device_name='simulated', is_bf16_supported=True,
        default_stream=_Thread.stream, manual_seed=None, manual_seed_all=None, set_rng_state=None,
        get_rng_state=torch.zeros(16, dtype=torch.uint8), empty_cache=None,
        reset_peak_memory_stats=None, max_memory_allocated=0, memory_allocated=0, memory_reserved=0,
    )  # fmt: skip
    cuda = {name: lambda *_, value=value, **__: value for name, value in returned.items()}
    cuda |= dict(
        synchronize=lambda device=None: GPU.wait('synchronize'),
        current_stream=lambda device=None: _THREAD.stream,
        set_stream=lambda stream: setattr(_THREAD, 'stream', stream),
        is_current_stream_capturing=lambda: _THREAD.graph is not None,
        **dict(Stream=Stream, Event=Stream, CUDAGraph=Graph, _initialized=True),
    )
    run_thread = threading.Thread.run

    def run(thread: threading.Thread) -> None:
        with _Mode(), _Functions():
            run_thread(thread)

    torch._C._ensureCUDADeviceGuardSet()
    with (
        patch.multiple(torch.cuda, create=True, **cuda),
        patch.object(torch.cuda.graph, 'default_capture_stream', None),
        patch.object(torch._C, '_host_emptyCache', lambda: None, create=True),
        patch.object(threading.Thread, 'run', run),
        patch.object(torch.__future__, '_swap_module_params_on_conversion', True),
        torch.backends.cudnn.flags(enabled=False),  # not on the CPU
        _Mode(),
        _Functions(),
    ):
        GPU.reset()
        GPU.graphs.clear()
        _THREAD.stream = _Thread.stream
        yield GPU


GPU, _THREAD = SimulatedGPU(), _Thread()
