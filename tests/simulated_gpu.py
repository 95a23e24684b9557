"""A GPU simulated on the CPU, for tests: tensors that say they are on ``cuda:0``, and CUDA graphs that are replayed.

    with simulated_gpu() as gpu:
        model.to('cuda')
        ...
        assert not gpu.waits

As on a GPU:

- Tensors of both devices do not mix, but for scalars.
- The host waits where it reads a value, gives one to the device, or has to know the size of a result that depends on
  values. Waits are counted, and are errors during a capture. By its CUDA sources, torchvision's ``nms`` reads a size,
  and ``ps_roi_align`` calls ``cudaDeviceSynchronize`` (neither do its gradient and ``ps_roi_pool``).
- A copy to pinned memory that does not block has garbage as its result until the host has waited.
- A graph is the list of captured operators with the memory that they read and wrote; a replay repeats them. What they
  wrote is garbage until then. Memory that a graph reads is garbage as soon as no tensor holds it.
- An error ends a capture, and ``torch.cuda.graph``, which is PyTorch's own, then leaves its stream the current one.

Not simulated: the order of streams, operators compiled by mmcv, in-place changes of a tensor's shape.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from weakref import WeakSet, WeakValueDictionary, finalize

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA, CPU = torch.device('cuda', 0), torch.device('cpu')
# The host reads a value, or the size of the result depends on values.
_READS = {
    *('_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'unique_dim', 'equal'),
    *('unique_consecutive', 'bincount', 'nms', 'ps_roi_align'),
}
_INDEXED = 'index', 'index_put', 'index_put_', '_index_put_impl_'
_COPIES = '_to_copy', 'copy_', '_foreach_copy_'
_NO_KERNEL = 'detach', 'lift_fresh', 'alias', 'empty', 'empty_strided', 'empty_like', 'new_empty'


class SimulatedGPU:
    """State of the device and counts.

    Attributes:
        kernels: Number of operators outside graphs that compute something: all but views and allocations.
        waits: How often the host waited for the device, by operator.
        replays: Number of replays; ``captures`` and ``failed_captures`` likewise.
        graphs: The graphs that are alive.
        allocated: Bytes of memory that tensors and graphs hold; ``peak`` is their maximum.
        capture_limit: Bytes that a capture may allocate; None: any number.
    """

    def __init__(self) -> None:
        self.allocated = self.peak = 0
        self.capture_limit: int | None = None
        self.graphs: WeakSet[Graph] = WeakSet()
        self.captures_underway: list[_Capture] = []
        self.memory: WeakValueDictionary[int, _Memory] = WeakValueDictionary()  # by storage
        self.reset()

    def reset(self) -> None:
        """Set the counts to zero."""
        self.kernels = self.replays = self.captures = self.failed_captures = 0
        self.waits: Counter[str] = Counter()

    def wait(self, operator: str) -> None:
        """Let the host wait for the device."""
        self.waits[operator] += 1
        own = _THREAD.capture
        for capture in self.captures_underway:
            capture.invalid |= capture is own or capture.error_mode == 'global'
        if any(capture.invalid for capture in self.captures_underway):
            message = 'CUDA error: operation not permitted when stream is capturing'
            raise RuntimeError(f'{message} ({operator})')
        for host, values in _THREAD.copies:
            host.copy_(values)
        _THREAD.copies.clear()


class _Memory:
    """A piece of the device's memory, in use as long as a tensor or a graph refers to it."""

    def __init__(self, size: int) -> None:
        self.size = size
        GPU.allocated += size
        GPU.peak = max(GPU.peak, GPU.allocated)

    def __del__(self) -> None:
        GPU.allocated -= self.size


class DeviceTensor(Tensor):
    """A tensor on the device; ``host`` has its values."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> 'DeviceTensor':
        layout = dict(strides=host.stride(), storage_offset=host.storage_offset())
        self = Tensor._make_wrapper_subclass(
            cls, host.size(), **layout, dtype=host.dtype, device=CUDA
        )
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
    """Sees the operators that make tensors of none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Capture:
    """What is captured: operators, memory of the graph, and what it reads and writes beside it."""

    def __init__(self, error_mode: str) -> None:
        self.error_mode, self.invalid, self.failed = error_mode, False, False
        self.tape: list[tuple] = []
        self.made: set[_Memory] = set()
        self.read: dict[_Memory, Tensor] = {}
        self.overwritten: list[tuple[Tensor, Tensor]] = []

    def note_inputs(self, func: Any, args: tuple, tensors: list[DeviceTensor]) -> None:
        """Note what an operator reads, and keep what it is going to overwrite."""
        if self.invalid:
            raise RuntimeError('CUDA error: operation failed due to a previous error in a capture')
        for tensor in tensors:
            if tensor.memory not in self.made:
                self.read[tensor.memory] = tensor.host
        for value, given in zip(args, func._schema.arguments, strict=False):
            if given.alias_info is not None and given.alias_info.is_write:
                for tensor in tree_leaves(value):
                    self.overwritten.append((tensor.host, tensor.host.clone()))

    def add(self, func: Any, args: tuple, kwargs: dict, results: list[DeviceTensor]) -> None:
        """Add an operator with its arguments and results on the host."""
        own = [
            result.host
            if result.memory not in self.read and result.memory not in self.made
            else None
            for result in results
        ]
        self.made |= {r.memory for r in results if r.memory not in self.read}
        self.tape.append((func, args, kwargs, own))
        if GPU.capture_limit is not None and sum(m.size for m in self.made) > GPU.capture_limit:
            self.failed = True
            raise torch.OutOfMemoryError('CUDA out of memory')

    def end(self) -> None:
        """Undo what was computed: a capture computes nothing."""
        for host, before in reversed(self.overwritten):
            host.copy_(before)
        for *_, own in self.tape:
            _spoil([host for host in own if host is not None])
        for memory, host in self.read.items():
            whole = torch.empty(0, dtype=host.dtype).set_(host.untyped_storage())
            finalize(memory, _spoil, [whole]).atexit = False
        self.read, self.overwritten = {}, []


class _Thread(threading.local):
    def __init__(self) -> None:
        self.stream = _DEFAULT_STREAM
        self.capture: _Capture | None = None
        self.copies: list[tuple[Tensor, Tensor]] = []  # to the host, not waited for


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operator, on the device if one of its tensors is there or its result has to be."""
    name, target, capture = func.overloadpacket.__name__, kwargs.get('device'), _THREAD.capture
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    here = [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
    if target is not None:
        to_device = torch.device(target).type == 'cuda'
    else:
        to_device = isinstance(args[0], DeviceTensor) if name == 'copy_' else bool(there)
    if not there and not to_device:
        return _run_on_host(func, args, kwargs)
    asynchronous = _exchange(name, args, kwargs, there, here, to_device)
    if capture is not None:
        capture.note_inputs(func, args, there)
    wrappers = {id(tensor.host): tensor for tensor in there}
    args, kwargs = tree_map(
        lambda leaf: leaf.host if isinstance(leaf, DeviceTensor) else leaf, (args, kwargs)
    )
    if target is not None:
        kwargs['device'] = CPU
    with torch.inference_mode(False), torch.no_grad():
        out = func(*args, **kwargs)
        if 'empty' in name:
            _spoil([out])
        if asynchronous and not to_device and capture is None:
            _THREAD.copies.append((out, out.clone()))
            _spoil([out])
    computes = name not in _NO_KERNEL and not any(
        returned.alias_info and not returned.alias_info.is_write
        for returned in func._schema.returns
    )
    if capture is None:
        GPU.kernels += computes
    if not to_device:
        return out

    def wrapped(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        tensor = wrappers.get(id(leaf))
        if tensor is None:
            return DeviceTensor(leaf)
        if (tensor.shape, tensor.stride()) != (leaf.shape, leaf.stride()):
            raise NotImplementedError(f'{func} changes the shape of a tensor in place')
        return tensor

    result = tree_map(wrapped, out)
    if capture is not None:
        leaves = [leaf for leaf in tree_leaves(result) if isinstance(leaf, DeviceTensor)]
        capture.add(func, args, kwargs, leaves)
    return result


def _run_on_host(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operator on the host, whose pinned memory is marked."""
    name = func.overloadpacket.__name__
    if name == 'is_pinned':
        return _is_pinned(args[0])
    if name == '_pin_memory':
        result = args[0].clone()
    else:
        pinned = kwargs.get('pin_memory')
        result = func(*args, **dict(kwargs, pin_memory=False) if pinned else kwargs)
        if not pinned:
            return result
    result.untyped_storage().is_pinned_here = True
    return result


def _is_pinned(tensor: Tensor) -> bool:
    return getattr(tensor.untyped_storage(), 'is_pinned_here', False)


def _exchange(
    name: str, args: tuple, kwargs: dict, there: list, here: list, to_device: bool
) -> bool:
    """Wait where host and device exchange something; return whether they do without waiting."""
    if name in _COPIES:
        if not (here and there or bool(there) != to_device):
            return False
        non_blocking = kwargs.get('non_blocking') or args[2:] == (True,)
        if non_blocking and all(map(_is_pinned, here)):
            return True
        GPU.wait(name)
        return False
    indices = [index for index in args[1] if index is not None] if name in _INDEXED else []
    masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    if len(masks) == len(indices) == 1 and name != 'index' and here == [args[2]]:
        return False  # tensor[mask] = number fills
    sizes = name == 'repeat_interleave' and kwargs.get('output_size') is None and len(args) < 2
    if name in _READS or masks or sizes:
        GPU.wait(name)
    for tensor in here:
        is_index = any(tensor is index for index in indices)
        if is_index or (tensor.dim() == 0 and (indices or name == 'where')):
            GPU.wait(f'{name} with a tensor of the host')
        elif tensor.dim():
            raise RuntimeError(
                f'Expected all tensors to be on the same device, but found cuda:0 and cpu ({name})'
            )
    return False


def _spoil(tensors: list[Tensor]) -> None:
    """Overwrite tensors of the host with garbage."""
    with torch._C._DisableTorchDispatch(), torch.inference_mode(False), torch.no_grad():
        for tensor in tensors:
            tensor.fill_(float('nan') if tensor.is_floating_point() else 113)


class Stream:
    """A stream without an order of its own: operators run as they are called."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.device = CUDA

    def wait_stream(self, stream: 'Stream') -> None:
        pass

    def wait_event(self, event: 'Event') -> None:
        pass

    def record_event(self, event: 'Event | None' = None) -> 'Event':
        event = event or Event()
        event.record(self)
        return event

    def synchronize(self) -> None:
        GPU.wait('Stream.synchronize')

    def query(self) -> bool:
        return not _THREAD.copies


class Event:
    """An event, with the time of the host."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.seconds = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self.seconds = time.perf_counter()

    def wait(self, stream: Stream | None = None) -> None:
        pass

    def synchronize(self) -> None:
        GPU.wait('Event.synchronize')

    def query(self) -> bool:
        return not _THREAD.copies

    def elapsed_time(self, end: 'Event') -> float:
        return 1000 * (end.seconds - self.seconds)


class Graph:
    """A CUDA graph."""

    def __init__(self, keep_graph: bool = False) -> None:
        self._captured: _Capture | None = None

    def capture_begin(self, pool: Any = None, capture_error_mode: str = 'global', **_: Any) -> None:
        _THREAD.capture = _Capture(capture_error_mode)
        GPU.captures_underway.append(_THREAD.capture)

    def capture_end(self) -> None:
        capture, _THREAD.capture = _THREAD.capture, None
        GPU.captures_underway.remove(capture)
        if capture.invalid or capture.failed:
            GPU.failed_captures += 1
        if capture.invalid:
            raise RuntimeError('CUDA error: operation failed due to a previous error in a capture')
        capture.end()
        if not capture.failed:
            GPU.captures += 1
            GPU.graphs.add(self)
        self._captured = capture

    def replay(self) -> None:
        assert _THREAD.capture is None, 'a replay is not captured here'
        GPU.replays += 1
        with torch._C._DisableTorchDispatch(), torch.inference_mode(False), torch.no_grad():
            for func, args, kwargs, own in self._captured.tape:
                results = [
                    leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)
                ]
                for host, result in zip(own, results, strict=True):
                    if host is not None:
                        host.copy_(result)

    def reset(self) -> None:
        self._captured = None

    def pool(self) -> tuple[int, int]:
        return (0, 1)


class _Properties:
    name, major, minor, total_memory, multi_processor_count = 'simulated', 9, 0, 80 << 30, 132


def _patches() -> dict[Any, dict[str, Any]]:
    """Return what stands in for functions and classes of PyTorch."""
    start_thread = threading.Thread.run

    def run_thread(thread: threading.Thread) -> None:
        with _Mode():  # modes are those of a thread
            start_thread(thread)

    cuda = dict(
        _lazy_init=lambda: None,
        _initialized=True,
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 1,
        current_device=lambda: 0,
        set_device=lambda device: None,
        _exchange_device=lambda index: 0,
        _maybe_exchange_device=lambda index: 0,
        get_device_capability=lambda device=None: (9, 0),
        get_device_name=lambda device=None: _Properties.name,
        get_device_properties=lambda device=None: _Properties,
        is_bf16_supported=lambda including_emulation=True: True,
        synchronize=lambda device=None: GPU.wait('synchronize'),
        Stream=Stream,
        Event=Event,
        CUDAGraph=Graph,
        graph_pool_handle=lambda: (0, 1),
        default_stream=lambda device=None: _DEFAULT_STREAM,
        current_stream=lambda device=None: _THREAD.stream,
        set_stream=lambda stream: setattr(_THREAD, 'stream', stream),
        is_current_stream_capturing=lambda: _THREAD.capture is not None,
        empty_cache=lambda: None,
        memory_allocated=lambda device=None: GPU.allocated,
        memory_reserved=lambda device=None: GPU.allocated,
        max_memory_allocated=lambda device=None: GPU.peak,
        reset_peak_memory_stats=lambda device=None: setattr(GPU, 'peak', GPU.allocated),
        manual_seed=lambda seed: None,
        manual_seed_all=lambda seed: None,
        get_rng_state=lambda device=None: torch.zeros(16, dtype=torch.uint8),
        set_rng_state=lambda state, device=None: None,
    )
    return {
        torch.cuda: cuda,
        torch.cuda.graph: dict(default_capture_stream=None),
        torch._C: dict(_host_emptyCache=lambda: None),
        threading.Thread: dict(run=run_thread),
    }


@contextmanager
def simulated_gpu() -> Iterator[SimulatedGPU]:
    """Context in which PyTorch has a GPU; what is put there may be used in later contexts, too."""
    torch._C._ensureCUDADeviceGuardSet()
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        for owner, attributes in _patches().items():
            for name, value in attributes.items():
                create = not hasattr(owner, name)
                stack.enter_context(patch.object(owner, name, value, create=create))
        # torch.tensor(..., device='cuda') copies by an operator that a mode sees.
        stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        # A parameter cannot become a DeviceTensor in place.
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # not on the CPU
        stack.enter_context(_Mode())
        GPU.reset()
        yield GPU


def install() -> SimulatedGPU:
    """Give PyTorch a GPU until the process ends."""
    context = simulated_gpu()
    _INSTALLED.append(context)
    return context.__enter__()


_DEFAULT_STREAM = Stream()
_INSTALLED: list = []
GPU = SimulatedGPU()
_THREAD = _Thread()
