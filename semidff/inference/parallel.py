"""Intervals of a file in parallel threads."""

import copy
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import takewhile
from queue import SimpleQueue

import torch
from mmdet.structures import DetDataSample, SampleList

from .schedules import FixedSchedule
from .smoothing import Smoother
from .video_engine import VideoEngine

_MOST_WORKERS = 4
_LONGEST = 64
"""Largest number of frames of an interval, all of which are in memory."""


def default_workers(decoder_threads: int = 1) -> int:
    """Return how many intervals of a file are processed at once on a CPU, of whose cores decoding takes some."""
    return max(min(torch.get_num_threads() + 1 - decoder_threads, _MOST_WORKERS), 1)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Context with this number of PyTorch's threads, after which it is what it was before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def worker_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that each have their share of PyTorch's threads; the block ends with them."""
    threads = torch.get_num_threads()
    share = max(threads // workers, 1)
    pool = ThreadPoolExecutor(
        workers, 'interval', initializer=torch.set_num_threads, initargs=(share,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # threads that start later take over the last number set


def independent_engine(engine: VideoEngine) -> VideoEngine:
    """Return an engine whose modules are its own, since some keep intermediate results; weights are shared."""
    model = engine.method.model
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.copy(engine)
    twin.method = copy.copy(engine.method)
    twin.model = twin.method.model = copy.deepcopy(model, tensors)
    twin.lock = threading.RLock()
    return twin


class ParallelEngine:
    """Runs the intervals of a video in several threads, each with its share of the CPU's cores; see :meth:`supports`.

    A frame does not keep many cores busy: PyTorch's threads wait for one another, spinning, at each of some hundred
    operators. Intervals do not depend on one another, so that each thread processes a whole one. Where the schedule
    observes the flow, the flow network runs ahead of them. Key frames and results are those of the engine, but for
    rounding.
    """

    def __init__(self, engine: VideoEngine, workers: int) -> None:
        self.engine, self.workers = engine, workers
        self._free: SimpleQueue[VideoEngine] = SimpleQueue()
        for _ in range(workers):
            twin = independent_engine(engine)
            twin.schedule, twin.timer = FixedSchedule(sys.maxsize), None
            twin.smooth_scores = twin.smooth_boxes = 0  # results are smoothed in order
            self._free.put(twin)

    @staticmethod
    def supports(engine: VideoEngine) -> bool:
        """Return whether the intervals of an engine are independent, short, and run on a CPU."""
        schedule, options = engine.schedule, engine.model.options
        return (
            engine.method.pairwise
            and not (options and options.compile)
            and schedule.longest <= _LONGEST
            and next(engine.model.parameters()).device.type == 'cpu'
        )

    def run(self, batches: Iterable[dict]) -> Iterator[DetDataSample]:
        """Yield the results of a video, given as collated batches of its frames, in frame order."""
        state, interval = self.engine.open(), []
        running: deque[tuple[Future[SampleList], Smoother | None]] = deque()
        stopped, latest = threading.Event(), None
        # At a scene cut, the engine opens another smoother, and would flush the one in the state.
        smoother, state.smoother = state.smoother, None

        def finish() -> SampleList:
            nonlocal latest
            (future, own), before = running.popleft(), latest
            results = future.result()
            if own is None:
                return results
            latest = own
            return (before.flush() if before not in (None, own) else []) + own.push(results)

        with worker_threads(self.workers) as pool:
            try:
                for data in batches:
                    # The workers have the other cores.
                    with torch_threads(1) if self.engine.schedule.observes else nullcontext():
                        is_key, flow_field = self.engine.look_ahead(data, state)
                    if flow_field is not None:
                        data = dict(data, flow_field=flow_field)
                    if is_key and interval:
                        running.append((pool.submit(self._detect, interval, stopped), smoother))
                        interval = []
                        if len(running) > self.workers:
                            yield from finish()
                    if state.smoother:
                        smoother, state.smoother = state.smoother, None
                    interval.append(data)
                if interval:
                    running.append((pool.submit(self._detect, interval, stopped), smoother))
                while running:
                    yield from finish()
                if latest:
                    yield from latest.flush()
            finally:
                stopped.set()  # intervals that run end after their current frame

    def _detect(self, interval: list[dict], stopped: threading.Event) -> SampleList:
        frames = takewhile(lambda _: not stopped.is_set(), interval)
        engine = self._free.get()
        try:
            return list(engine.run(frames, chunked=True))
        finally:
            self._free.put(engine)
