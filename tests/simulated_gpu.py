"""A GPU simulated on the CPU, for tests: tensors that say they are on ``cuda:0``, and CUDA graphs that are replayed.

    with simulated_gpu() as gpu:
        model.to('cuda')
        ...
        assert not gpu.waits

As on a GPU:

- Tensors of both devices do not mix, but for scalars.
- The host waits where it reads a value, sends one, or has to know the size of a result that depends on values. Waits
  are counted, and are errors during a capture. By its CUDA sources, torchvision's ``nms`` reads a size and
  ``ps_roi_align`` synchronizes the device (neither do the gradient of the latter and ``ps_roi_pool``).
- A copy to pinned memory that does not block leaves garbage there until the host waits.
- A graph is the list of captured operators with the memory that they read and wrote; a replay repeats them. What they
  wrote is garbage until then. Memory that a graph reads becomes garbage as soon as no tensor holds it.
- An error ends a capture, and ``torch.cuda.graph``, which is PyTorch's own, leaves the stream of the capture current.

Not simulated: the order of streams, backward passes, operators compiled by mmcv, in-place changes of a shape.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import compress
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from weakref import WeakSet, WeakValueDictionary, finalize

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA, CPU = torch.device('cuda', 0), torch.device('cpu')
# The host reads a value, or the size of the result depends on values.
_READS = (
    '_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'unique_dim',
    'unique_consecutive', 'equal', 'bincount', 'nms', 'ps_roi_align',
)  # fmt: skip
_INDEXED = ('index', 'index_put', 'index_put_', '_index_put_impl_')
_NO_KERNEL = ('detach', 'lift_fresh', 'empty', 'empty_strided', 'empty_like', 'new_empty')


class SimulatedGPU:
    """The device.

    Attributes:
        kernels: Number of operators outside graphs that compute something: all but views and allocations.
        waits: How often the host waited for the device, by operator.
        replays: Number of replays; ``captures`` and ``failed_captures`` likewise.
        graphs: The graphs that are alive.
        allocated: Bytes of memory that tensors and graphs hold.
        capture_limit: Bytes that a capture may allocate; None: any number.
    """

    def __init__(self) -> None:
        self.allocated, self.capture_limit = 0, None
        self.graphs: WeakSet[Graph] = WeakSet()
        self.capturing: list[Graph] = []
        self.memory: WeakValueDictionary[int, _Memory] = WeakValueDictionary()  # by storage
        self.reset()

    def reset(self) -> None:
        """Set the counts to zero."""
        self.kernels = self.replays = self.captures = self.failed_captures = 0
        self.waits: Counter[str] = Counter()

    def wait(self, operator: str) -> None:
        """Let the host wait for the device."""
        self.waits[operator] += 1
        for graph in self.capturing:
            if graph is _THREAD.graph or graph.error_mode == 'global':
                graph.invalid = True
                message = 'CUDA error: operation not permitted when stream is capturing'
                raise RuntimeError(f'{message} ({operator})')
        for host, values in _THREAD.copies:
            host.copy_(values)
        _THREAD.copies.clear()


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
        strides = dict(strides=host.stride(), storage_offset=host.storage_offset())
        options = dict(dtype=host.dtype, device=CUDA)
        self = Tensor._make_wrapper_subclass(cls, host.size(), **strides, **options)
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
    """Sees the operators of a thread that make tensors of none, ``torch.tensor(..., device='cuda')`` included."""

    def __enter__(self) -> '_Mode':
        self.lifts = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self.lifts)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class Stream:
    """Stream or event; operators run as they are called."""

    device = CUDA

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take the arguments of streams and of events."""

    def wait(self, *_: Any) -> None:
        """Do nothing."""

    record = wait_stream = wait_event = wait

    def record_event(self, event: 'Stream | None' = None) -> 'Stream':
        return event or Stream()

    def synchronize(self) -> None:
        GPU.wait('synchronize')

    def query(self) -> bool:
        return not _THREAD.copies


class Graph:
    """CUDA graph: operators, the memory that is its own, and while it is captured, other memory."""

    def capture_begin(self, *pool: Any, capture_error_mode: str = 'global', **_: Any) -> None:
        self.error_mode, self.invalid, self.out_of_memory = capture_error_mode, False, False
        self.tape: list[tuple] = []
        self.made: set[_Memory] = set()
        self.read: dict[_Memory, Tensor] = {}
        self.overwritten: list[tuple[Tensor, Tensor]] = []
        _THREAD.graph = self
        GPU.capturing.append(self)

    def note(self, func: Any, args: tuple, tensors: list[DeviceTensor]) -> None:
        """Note what an operator is going to read and to overwrite."""
        if self.invalid:
            raise RuntimeError('CUDA error: operation failed due to a previous error in a capture')
        self.read |= {t.memory: t.host for t in tensors if t.memory not in self.made}
        written = (a.alias_info and a.alias_info.is_write for a in func._schema.arguments)
        for tensor in filter(torch.is_tensor, tree_leaves([*compress(args, written)])):
            host = getattr(tensor, 'host', tensor)
            self.overwritten.append((host, host.clone()))

    def add(self, func: Any, args: tuple, kwargs: dict, results: list[DeviceTensor]) -> None:
        """Add an operator with its arguments and results on the host."""
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
            raise RuntimeError('CUDA error: operation failed due to a previous error in a capture')
        if not self.out_of_memory:
            GPU.captures += 1
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
        assert _THREAD.graph is None, 'not simulated'
        GPU.replays += 1
        with torch._C._DisableTorchDispatch(), torch.inference_mode(False), torch.no_grad():
            for func, args, kwargs, new in self.tape:
                found = filter(torch.is_tensor, tree_leaves(func(*args, **kwargs)))
                for host, result in zip(new, found, strict=False):
                    if host is not None:
                        host.copy_(result)


class _Thread(threading.local):
    stream, graph = Stream(), None

    def __init__(self) -> None:
        self.copies: list[tuple[Tensor, Tensor]] = []  # to the host, not waited for


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operator, on the device if one of its tensors is there or its result has to be."""
    if torch.is_inference_mode_enabled() and func._can_decompose():
        with _Mode():
            return func.decompose(*args, **kwargs)
    name, target, graph = func.overloadpacket.__name__, kwargs.get('device'), _THREAD.graph
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    here = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
    if target is not None:
        to_device = torch.device(target).type == 'cuda'
    else:
        to_device = isinstance(args[0], DeviceTensor) if name == 'copy_' else bool(there)
    if not there and not to_device:
        return _run_on_host(func, args, kwargs)
    is_copy = name in ('_to_copy', 'copy_', '_foreach_copy_')
    asynchronous = _exchange(name, args, kwargs, here, is_copy, bool(there) != to_device)
    if graph is not None:
        graph.note(func, args, there)
    wrappers = {id(tensor.host): tensor for tensor in there}
    args, kwargs = tree_map(lambda leaf: getattr(leaf, 'host', leaf), (args, kwargs))
    if target is not None:
        kwargs['device'] = CPU
    with torch.inference_mode(False), torch.no_grad():
        out = func(*args, **kwargs)
        if asynchronous and not to_device and graph is None:
            _THREAD.copies.append((out, out.clone()))
            _spoil(out)
        if 'empty' in name:
            _spoil(out)
    if graph is None:
        view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        GPU.kernels += not view and name not in _NO_KERNEL

    def wrap(leaf: Any) -> Any:
        own = wrappers.get(id(leaf))
        if own is not None and (own.shape, own.stride()) != (leaf.shape, leaf.stride()):
            raise NotImplementedError(f'{func} changes the shape of a tensor in place')
        if own is None:
            return DeviceTensor(leaf) if isinstance(leaf, Tensor) else leaf
        return own

    if to_device:
        out = tree_map(wrap, out)
    if graph is not None:
        results = [leaf for leaf in tree_leaves(out) if isinstance(leaf, DeviceTensor)]
        graph.add(func, args, kwargs, results)
    return out


def _run_on_host(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operator on the host, whose pinned memory is marked."""
    name, pinned = func.overloadpacket.__name__, kwargs.get('pin_memory')
    if name == 'is_pinned':
        return _is_pinned(args[0])
    if name == '_pin_memory':
        out, pinned = args[0].clone(), True
    else:
        out = func(*args, **dict(kwargs, pin_memory=False) if pinned else kwargs)
    if pinned:
        out.untyped_storage().pinned_here = True
    return out


def _is_pinned(tensor: Tensor) -> bool:
    return hasattr(tensor.untyped_storage(), 'pinned_here')


def _exchange(
    name: str, args: tuple, kwargs: dict, here: list[Tensor], is_copy: bool, between: bool
) -> bool:
    """Wait where an operator exchanges something with the host; return whether it is a copy that does not block."""
    if is_copy:
        non_blocking = kwargs.get('non_blocking') or args[2:] == (True,)
        asynchronous = non_blocking and all(map(_is_pinned, here))
        if (here or between) and not asynchronous:
            GPU.wait(name)
        return between and asynchronous
    indices = [index for index in args[1] if index is not None] if name in _INDEXED else []
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    if len(masks) == len(indices) == 1 and here and here[0] is args[-1]:
        return False  # tensor[mask] = number
    sizes = name == 'repeat_interleave' and kwargs.get('output_size') is None and len(args) < 2
    if name in _READS or masks or sizes:
        GPU.wait(name)
    for tensor in here:
        if (
            any(tensor is index for index in indices)
            or not tensor.dim()
            and (indices or name == 'where')
        ):
            GPU.wait(f'{name} with a tensor of the host')
        elif tensor.dim():
            message = 'Expected all tensors to be on the same device, but found cuda:0 and cpu'
            raise RuntimeError(f'{message} ({name})')
    return False


def _spoil(*tensors: Tensor | None) -> None:
    """Overwrite memory with garbage."""
    with torch._C._DisableTorchDispatch(), torch.inference_mode(False), torch.no_grad():
        for tensor in filter(torch.is_tensor, tensors):
            tensor.fill_(float('nan') if tensor.is_floating_point() else 113)


def _patches() -> dict[Any, dict[str, Any]]:
    """Return what stands in for parts of PyTorch."""
    properties = dict(major=9, minor=0, total_memory=80 << 30, multi_processor_count=132)
    constants = dict(
        _lazy_init=None, is_available=True, is_initialized=True, device_count=1, current_device=0,
        set_device=None, _exchange_device=0, _maybe_exchange_device=0, graph_pool_handle=(0, 1),
        get_device_capability=(9, 0), get_device_name='simulated', is_bf16_supported=True,
        get_device_properties=SimpleNamespace(name='simulated', **properties),
        default_stream=_Thread.stream, manual_seed=None, manual_seed_all=None, set_rng_state=None,
        get_rng_state=torch.zeros(16, dtype=torch.uint8), reset_peak_memory_stats=None,
        empty_cache=None,
    )  # fmt: skip
    functions = dict(
        synchronize=lambda device=None: GPU.wait('synchronize'),
        current_stream=lambda device=None: _THREAD.stream,
        set_stream=lambda stream: setattr(_THREAD, 'stream', stream),
        is_current_stream_capturing=lambda: _THREAD.graph is not None,
    )
    for name in ('memory_allocated', 'memory_reserved', 'max_memory_allocated'):
        functions[name] = lambda device=None: GPU.allocated
    for name, value in constants.items():
        functions[name] = lambda *_, value=value, **__: value
    run_thread = threading.Thread.run

    def run(thread: threading.Thread) -> None:
        with _Mode():
            run_thread(thread)

    return {
        torch.cuda: dict(
            functions, Stream=Stream, Event=Stream, CUDAGraph=Graph, _initialized=True
        ),
        torch.cuda.graph: dict(default_capture_stream=None),
        torch._C: dict(_host_emptyCache=lambda: None),
        threading.Thread: dict(run=run),
    }


@contextmanager
def simulated_gpu() -> Iterator[SimulatedGPU]:
    """Context in which PyTorch has a GPU. What stays in caches there can be used in later contexts."""
    torch._C._ensureCUDADeviceGuardSet()
    with ExitStack() as stack:
        for owner, attributes in _patches().items():
            for name, value in attributes.items():
                stack.enter_context(patch.object(owner, name, value, create=True))
        # The values of a parameter cannot be set to a DeviceTensor.
        future = torch.__future__
        swaps = future.get_swap_module_params_on_conversion()
        stack.callback(future.set_swap_module_params_on_conversion, swaps)
        future.set_swap_module_params_on_conversion(True)
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # not on the CPU
        stack.enter_context(_Mode())
        GPU.reset()
        GPU.graphs.clear()
        _THREAD.stream = _Thread.stream
        yield GPU


def install() -> SimulatedGPU:
    """Give PyTorch a GPU until the process ends."""
    return _STACK.enter_context(simulated_gpu())


GPU, _THREAD, _STACK = SimulatedGPU(), _Thread(), ExitStack()
