"""The fastest runtime for each graph, chosen by measurements."""

import fcntl
import platform
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import SampleList
from mmengine.logging import print_log
from torch import Tensor, nn

from semidff.models.key_frame import FlowField, KeyFrame
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.logs import log_warning
from semidff.utils.threads import has_busy_cores, worker_threads

from .base import Executor
from .exported import digest_of
from .onnx_export import TURNS

FILE = 'runtime.json'
EVERYWHERE = 'all machines'
"""Key of the choices in a folder whose results must not depend on machine and load, such as an archive's."""
ROUNDS = 1, 30  # fewest, beside the first one, and most
SECONDS = 1.0  # of measuring one kind of batch, unless a single round takes longer
WARMED = 5.0  # of a first round that is the only one, since little of it is warm-up


_CHOSEN: dict[tuple[str, str], dict] = {}  # by this process, also beside others


class FastestRuntime:
    """Executor that computes key frames, non-key frames and flow fields each in the runtime that is fastest.

    The first batch of each size is measured, as many at once as workers share the threads: single frames and chunks,
    key frames and others by themselves.

    Args:
        candidates: Executors of one detector by the name of their runtime, ``torch`` among them.
        folder: Folder with the file of the choices, which are those of the weights, the machine and the versions. What
            is measured beside another busy process is not kept, unless the choices are those of all machines. None: no
            choice is kept.
    """

    runtime = 'auto'

    def __init__(
        self,
        candidates: Mapping[str, Executor],
        folder: str | Path | None,
        layout: torch.memory_format,
    ) -> None:
        self.candidates, self._layout = candidates, layout
        self.model, self._folder = candidates['torch'].model, folder
        self._threads = torch.get_num_threads()
        self._chosen: dict[tuple[str, int], str] = {}  # shared by all threads

    def __reduce__(self) -> tuple:
        return FastestRuntime, (self.candidates, self._folder, self._layout)

    @TURNS.running()
    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        run = lambda one, _: one.predict_key(inputs, samples)  # noqa: E731
        return self._fastest('key', inputs, run, KeyFrame(None, ()))

    @TURNS.running()
    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        kind = 'non-key' if flow_field is None else 'propagation'
        run = lambda one, key: one.predict_non_key(inputs, samples, key, flow_field)  # noqa: E731
        return self._fastest(kind, inputs, run, key)

    @TURNS.running()
    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        run = lambda one, key: one.flow_field(inputs, key)  # noqa: E731
        return self._fastest('flow', inputs, run, KeyFrame(key.image, ()))

    def with_temporal(self, temporal: nn.Module | None) -> 'FastestRuntime':
        others = {name: one.with_temporal(temporal) for name, one in self.candidates.items()}
        return FastestRuntime(others, self._folder, self._layout)

    def independent(self) -> 'FastestRuntime | None':
        others = {name: one.independent() for name, one in self.candidates.items()}
        if None in others.values():
            return None
        other = FastestRuntime(others, self._folder, self._layout)
        other._chosen, other._threads = self._chosen, self._threads
        return other

    def _fastest(
        self, kind: str, inputs: Tensor, run: Callable[[Executor, KeyFrame], Any], key: KeyFrame
    ) -> Any:
        """Run a function in the fastest runtime, which has the key frame in its memory layout."""
        count = 'one' if len(inputs) == 1 else 'several'
        signature = f'{kind}, {inputs.shape[2]} x {inputs.shape[3]}, {count}'
        case = signature, torch.get_num_threads()
        if case not in self._chosen:
            with TURNS.exporting():
                if case not in self._chosen:
                    self._chosen[case] = self._choose(signature, run, key)
        name = self._chosen[case]
        return run(self.candidates[name], self._arranged(key, name))

    def _arranged(self, key: KeyFrame, name: str) -> KeyFrame:
        layout = self._layout if name == 'torch' else torch.contiguous_format
        return KeyFrame(
            key.image, tuple(maps.contiguous(memory_format=layout) for maps in key.features)
        )

    def _choose(self, signature: str, run: Callable, key: KeyFrame) -> str:
        """Return the choice of the file, or measure; other processes wait, where there are locks."""
        if self._folder is None:
            return self._measured(signature, run, key, None)
        file = Path(self._folder, FILE)
        with ExitStack() as stack:
            # A folder of others, a full disk, or a file system without locks.
            with suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(open(file.with_suffix('.lock'), 'w'))
                fcntl.flock(lock, fcntl.LOCK_EX)
            return self._measured(signature, run, key, file)

    def _measured(self, signature: str, run: Callable, key: KeyFrame, file: Path | None) -> str:
        known = {}
        if file:
            with suppress(OSError):  # there is none, or it is that of another user
                known = read_json(file)
        own = EVERYWHERE if EVERYWHERE in known else self._key()
        found = known.get(own, {}).get(signature, _CHOSEN.get((own, signature)))
        if found is not None and found['runtime'] in self.candidates:
            return found['runtime']
        print_log(f'{signature}: measuring {", ".join(self.candidates)}, the first time', 'current')
        times = self._times(run, key)
        best = min(times, key=times.get)
        if own != EVERYWHERE:
            _CHOSEN[own, signature] = dict(runtime=best)
        if own != EVERYWHERE and has_busy_cores():
            log_warning(f'{signature}: {best} is fastest beside a busy process, which is not kept')
        elif file:
            found = dict(runtime=best, milliseconds={n: 1000 * one for n, one in times.items()})
            known.setdefault(own, {}).setdefault(signature, found)
            try:
                write_json(known, file, indent=1)
            except OSError as error:
                log_warning(f'{file}: cannot be written ({error.strerror})')
        return best

    def _times(self, run: Callable, key: KeyFrame) -> dict[str, float]:
        """Return the median seconds of a batch in each of as many threads as are used."""
        threads, keys, teams = torch.get_num_threads(), {}, {}
        copies = max(self._threads // threads, 1)
        for name, one in self.candidates.items():
            keys[name] = self._arranged(key, name)
            run(one, keys[name])  # exports
            others = [one.independent() for _ in range(copies - 1)]
            teams[name] = [one, *filter(None, others)]

        def begin() -> None:
            torch.set_grad_enabled(False)
            TURNS.join()

        laps: dict[str, list[float]] = {name: [] for name in teams}
        with worker_threads(copies, threads, begin) as pool:
            begun, (least, most) = time.perf_counter(), ROUNDS
            for number in range(most + 1):  # the first one is warm-up
                for name, team in teams.items():
                    start = time.perf_counter()
                    deque(pool.map(run, team, repeat(keys[name])), 0)
                    laps[name].append(time.perf_counter() - start)
                taken = time.perf_counter() - begun
                if taken > (SECONDS if number >= least else WARMED):
                    break
        return {name: float(np.median(own[1:] or own)) for name, own in laps.items()}

    def _key(self) -> str:
        """Return what the choices depend on: weights, machine, versions."""
        processor = platform.processor()
        if (info := Path('/proc/cpuinfo')).is_file():
            processor = re.search('model name.*|$', info.read_text())[0]
        versions = [import_module(name).__version__ for name in self.candidates]
        threads = torch.get_num_threads(), self._threads
        return digest_of(self.model, processor, *threads, *versions)
