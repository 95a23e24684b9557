"""Intervals of a file in parallel threads."""

import copy
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from itertools import takewhile
from queue import SimpleQueue

import torch
from mmdet.structures import DetDataSample, SampleList

from semidff.models.key_frame import KeyFrame

from .methods import Frames
from .schedules import KeyFrameSchedule, StreamState
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


class _KnownKeyFrames(KeyFrameSchedule):
    """Schedule of the threads: the first frame of an interval, and frames whose detections run ahead."""

    def is_key(self, state: StreamState, data: dict) -> bool:
        return 'ahead' in data


class ParallelEngine:
    """Runs the intervals of a video in several threads, each with its share of the CPU's cores; see :meth:`supports`.

    A frame does not keep many cores busy: PyTorch's threads wait for one another, spinning, at each of some hundred
    operators. Intervals do not depend on one another, so that each thread processes a whole one. Key frames that
    several intervals need are detected ahead of these: offline methods need the next one, too, *coast* all before. The
    flow network runs ahead where the schedule observes the flow. Key frames and results are those of the engine, but
    for rounding.
    """

    def __init__(self, engine: VideoEngine, workers: int) -> None:
        self.engine, self.workers = engine, workers
        self._free: SimpleQueue[VideoEngine] = SimpleQueue()
        for _ in range(workers):
            twin = independent_engine(engine)
            twin.schedule = _KnownKeyFrames()
            twin.smooth_scores = twin.smooth_boxes = 0  # results are smoothed in order
            self._free.put(twin)

    @staticmethod
    def supports(engine: VideoEngine) -> bool:
        """Return whether the intervals of an engine are short, and run on a CPU without compilation."""
        options = engine.model.options
        return (
            not (options and options.compile)
            and engine.schedule.longest <= _LONGEST
            and next(engine.model.parameters()).device.type == 'cpu'
        )

    def run(self, batches: Iterable[dict]) -> Iterator[DetDataSample]:
        """Yield the results of a video, given as collated batches of its frames, in frame order."""
        method = self.engine.method
        with worker_threads(self.workers) as pool:
            if method.pairwise or method.offline:
                yield from self._intervals(batches, pool)
            else:
                yield from self.engine.run(self._ahead(batches, pool))

    def _intervals(
        self, batches: Iterable[dict], pool: ThreadPoolExecutor
    ) -> Iterator[DetDataSample]:
        """Yield the results of a method that needs no key frames but those around an interval."""
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

        try:
            for data in batches:
                memory = state.memory
                # The workers have the other cores.
                with torch_threads(1) if self.engine.schedule.observes else nullcontext():
                    is_key, flow_field = self.engine.look_ahead(data, state)
                if flow_field is not None:
                    data = dict(data, flow_field=flow_field)
                if is_key and self.engine.method.offline:
                    data = dict(data, ahead=pool.submit(self._detect_key, data))
                if is_key and interval:
                    end = [data] if 'ahead' in data and state.memory is memory else []
                    running.append((pool.submit(self._detect, interval, end, stopped), smoother))
                    interval = []
                    if len(running) > self.workers:
                        yield from finish()
                if state.smoother:
                    smoother, state.smoother = state.smoother, None
                interval.append(data)
            if interval:
                running.append((pool.submit(self._detect, interval, [], stopped), smoother))
            while running:
                yield from finish()
            if latest:
                yield from latest.flush()
        finally:
            stopped.set()  # intervals that run end after their current frame

    def _ahead(self, batches: Iterable[dict], pool: ThreadPoolExecutor) -> Iterator[dict]:
        """Yield frames, with the detections of several key frames running ahead."""
        state, waiting, keys = self.engine.open(), deque(), 0
        for data in batches:
            if self.engine.look_ahead(data, state)[0]:
                data, keys = dict(data, ahead=pool.submit(self._detect_key, data)), keys + 1
            waiting.append(data)
            while keys > self.workers:
                keys -= 'ahead' in waiting[0]
                yield waiting.popleft()
        yield from waiting

    def _detect(
        self, interval: list[dict], end: list[dict], stopped: threading.Event
    ) -> SampleList:
        """Return the results of an interval, of which ``end`` is the next key frame if the method needs it."""
        frames = interval + end
        # Threads of other videos, which may need the engine to go on, wait for key frames, too.
        wait([data['ahead'] for data in frames if 'ahead' in data])
        with self._engine() as engine:
            running = takewhile(lambda _: not stopped.is_set(), frames)
            return list(engine.run(running, chunked=True))[: len(interval)]

    @torch.no_grad()
    def _detect_key(self, data: dict) -> tuple[SampleList, KeyFrame]:
        with self._engine() as engine:
            sample = data['data_samples'][0].clone()  # the engine prepares its own
            frames = Frames(*engine.method.model.preprocess(data['inputs'], [sample]), [])
            return engine.method.predict_key(frames)

    @contextmanager
    def _engine(self) -> Iterator[VideoEngine]:
        engine = self._free.get()
        try:
            yield engine
        finally:
            self._free.put(engine)
