"""Frame-by-frame inference over videos with key frames (DFF Algorithm 1)."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from weakref import WeakKeyDictionary

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.video_detector import VideoDetector

from .methods import Frames, MethodError, method_class, methods_with
from .schedules import KeyFrameSchedule, StreamState, build_schedule
from .smoothing import Smoother

_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_CREATING = threading.Lock()


class VideoEngine:
    """Detects on every frame of a video, or of several videos at a time.

    Engines may run in several threads. Those that share a detector take turns, since some detectors of mmdet keep
    intermediate results of a frame in themselves (DDQ-DETR: the masks of its queries).

    Args:
        model: A ``VideoDetector``, or any mmdet detector for methods without temporal module. It is put into eval
            mode.
        method: ``propagate`` (temporal module), ``frame`` (spatial module on every frame), ``copy``, ``coast``,
            ``interpolate``, ``centered`` (temporal module, from the nearer key frame, offline), ``blend`` (the same,
            with boxes averaged with interpolated ones), ``sff-fast`` or ``sff-slow`` (OpenCV's optical flow).
        key_interval: Key-frame interval l; ``frame`` ignores it.
        schedule: Key-frame schedule or its config; None for a key frame every ``key_interval`` frames.
        keep_fields: Whether propagated results hold their ``feature_flow`` (2, h, w) and ``scale_field`` (1, h, w),
            for visualization; methods that propagate no features ignore it.
        smooth_scores: Number of earlier frames over which the scores of an object are averaged; with offline methods
            of later ones, too. 0 for none, see :class:`~semidff.inference.smoothing.Smoother`.
        smooth_boxes: Number of later frames with which boxes are smoothed, beside all earlier ones; results wait for
            them. 0 for none, a number above a video's length for the whole video, whose results are then in memory.

    Example:
        >>> engine = VideoEngine(model, 'propagate', key_interval=10)
        >>> for data in frames_of_one_video:  # collated test batches of one frame
        ...     results += engine.push(data)
        >>> results += engine.flush()
        >>> engine.reset()  # before the next video

        Several streams, batched together:

        >>> states = [engine.open() for _ in cameras]
        >>> results = engine.push_batch([camera.read() for camera in cameras], states)
    """

    def __init__(
        self,
        model: nn.Module,
        method: str = 'propagate',
        key_interval: int = 10,
        schedule: KeyFrameSchedule | dict | None = None,
        keep_fields: bool = False,
        smooth_scores: int = 0,
        smooth_boxes: int = 0,
    ) -> None:
        self.smooth_scores, self.smooth_boxes = int(smooth_scores), int(smooth_boxes)
        chosen = method_class(method)
        self.model = model = VideoDetector.wrap(model).eval()
        if (smooth_scores or smooth_boxes) and model.spatial.prediction != 'pred_instances':
            raise MethodError(
                f'boxes and their scores are smoothed, but this model predicts {model.spatial.prediction}'
            )
        options = {'keep_fields': keep_fields} if chosen.shows_flow else {}
        self.method = chosen(model, **options)
        self.schedule = build_schedule(schedule or (1 if method == 'frame' else key_interval))
        if self.schedule.observes and not self.method.observable:
            able = ', '.join(methods_with('observable'))
            raise MethodError(
                f'{type(self.schedule).__name__} observes the feature flow, which method {method!r} of this model does '
                f'not have at that point: choose one of {able}, with a temporal module that has a flow'
            )
        with _CREATING:
            self.lock = _LOCKS.setdefault(model.spatial.detector, threading.RLock())
        self.reset()

    def open(self, chunked: bool = False) -> StreamState:
        """Return the state of a new stream; any number of streams can be open.

        Args:
            chunked: Whether *propagate* may process the non-key frames of an interval as a batch, which is faster.
                Results then come later, those of an interval at the next key frame at the latest.
        """
        smoother = None
        if self.smooth_scores or self.smooth_boxes:
            smoother = Smoother(self.smooth_scores, self.smooth_boxes, self.method.offline)
        memory = self.method.begin()
        memory.chunked = chunked
        return StreamState(memory=memory, smoother=smoother)

    def reset(self) -> None:
        """Begin a new video; results that were not flushed are lost."""
        self.state = self.open()

    def push(self, data: dict, state: StreamState | None = None) -> SampleList:
        """Process the next frame.

        A frame of another size than the frame before, or after a scene cut that the schedule finds, becomes a key
        frame, and all memory is reset.

        Args:
            data: Collated test batch of one frame: ``inputs``, a list with one uint8 tensor (3, H, W), and
                ``data_samples``, a list with its ``DetDataSample``.
            state: The stream, from :meth:`open`; None for the engine's own.

        Returns:
            Data samples of the results finished so far, in frame order, with ``pred_instances`` (boxes in the
            original image) and the metainfo ``is_key_frame``.
        """
        return self.push_batch([data], [self.state if state is None else state])[0]

    def run(self, batches: Iterable[dict], chunked: bool = False) -> Iterator[DetDataSample]:
        """Yield the results of a video, given as collated batches of its frames, in frame order.

        Args:
            chunked: See :meth:`open`.
        """
        state = self.open(chunked)
        for data in batches:
            yield from self.push(data, state)
        yield from self.flush(state)

    @torch.no_grad()
    def look_ahead(self, data: dict, state: StreamState) -> tuple[bool, FlowField | None]:
        """Return whether the next frame of a stream is a key frame, and go on to the frame after it.

        Nothing is detected. If the schedule observes the flow field of a non-key frame, it is returned, too: as
        ``flow_field`` of the frame's data, it is not computed again.
        """
        step, flow_field = self._begin(data, state), None
        if self.schedule.observes:
            model = self.method.model
            self._preprocess([step])
            if step.is_key:
                with model.running():
                    image = model.temporal.prepare(model.normalized(step.inputs))
                state.memory.key_frame = KeyFrame(image, ())
            else:
                flow_field = self._observe([step], step.inputs)
        step.advance()
        return step.is_key, flow_field

    @torch.no_grad()
    def push_batch(self, frames: Sequence[dict], states: Sequence[StreamState]) -> list[SampleList]:
        """Process the next frame of each of several different streams; return the results of each.

        Frames of equal size form one batch.
        """
        if len({id(state) for state in states}) < len(states):
            raise ValueError('a stream occurs twice in a batch; push its frames one by one')
        with self.lock:
            steps = [self._begin(*pair) for pair in zip(frames, states, strict=True)]
            for shape in dict.fromkeys(step.shape for step in steps):
                alike = [step for step in steps if step.shape == shape]
                keys, others = (
                    [s for s in alike if s.is_key == is_key] for is_key in (True, False)
                )
                read = alike if self.method.reads_non_key_frames else keys
                self._preprocess([step for step in read if step.ahead is None])
                self._run(keys)
                self._run(others)
        return [step.results for step in steps]

    @torch.no_grad()
    def flush(self, state: StreamState | None = None) -> SampleList:
        """Return the results of a stream's last frames that :meth:`push` has not returned."""
        state = self.state if state is None else state
        with self.lock:
            finished = self.method.flush(state.memory)  # runs the networks on frames that wait
            if state.smoother is not None:
                finished = state.smoother.push(finished) + state.smoother.flush()
        return finished

    def _begin(self, data: dict, state: StreamState) -> '_Step':
        """Prepare a frame, up to the schedule's decision."""
        if len(data['data_samples']) != 1:
            raise ValueError(
                f'a batch with {len(data["data_samples"])} frames, but videos are processed frame by frame: set '
                'batch_size=1 in the data loader'
            )
        step = _Step(data, state)
        if state.distance and (state.size != step.size or self.schedule.is_cut(state, data)):
            step.results = self.flush(state)
            new = self.open(state.memory.chunked)
            state.memory, state.smoother = new.memory, new.smoother
            state.distance, state.notes = 0, {}
        state.size = step.size
        step.is_key = state.distance == 0 or self.schedule.is_key(state, data)
        if step.is_key:
            self.schedule.note_key(state, data)
        step.sample.set_metainfo({'is_key_frame': step.is_key})
        return step

    def _preprocess(self, steps: list['_Step']) -> None:
        if not steps:
            return
        inputs, samples = [s.data['inputs'][0] for s in steps], [s.sample for s in steps]
        batch, samples = self.model.preprocess(inputs, samples)
        for step, inputs, sample in zip(steps, batch.split(1), samples, strict=True):
            step.inputs, step.sample = inputs, sample

    def _run(self, steps: list['_Step']) -> None:
        """Run the method on key frames, or on non-key frames."""
        if not steps:
            return
        is_key, inputs = steps[0].is_key, steps[0].inputs
        if inputs is not None and len(steps) > 1:  # a single frame is not copied
            inputs = torch.cat([step.inputs for step in steps])
        memories = [step.state.memory for step in steps]
        frames = Frames(inputs, [step.sample for step in steps], memories, steps[0].ahead)
        flow_field = None
        if self.schedule.observes and not is_key:
            flow_field = self._observe(steps, inputs)
        elif 'flow_field' in steps[0].data:
            flow_field = FlowField.batch([step.data['flow_field'] for step in steps])
        results = self.method.key(frames) if is_key else self.method.non_key(frames, flow_field)
        if self.smooth_scores or self.smooth_boxes:
            pairs = zip(steps, results, strict=True)
            results = [step.state.smoother.push(finished) for step, finished in pairs]
        for step, finished in zip(steps, results, strict=True):
            step.results += finished
            step.advance()

    def _observe(self, steps: list['_Step'], inputs: Tensor) -> FlowField:
        """Compute the flow field of non-key frames, and let the schedule observe it."""
        flow_field = self.method.flow_field(inputs, [step.state.memory for step in steps])
        for index, step in enumerate(steps):
            self.schedule.observe(step.state, flow_field.frame(index))
        return flow_field


class _Step:
    """A frame of a stream while it is processed."""

    def __init__(self, data: dict, state: StreamState) -> None:
        self.data, self.state = data, state
        self.sample: DetDataSample = data['data_samples'][0]
        self.shape = tuple(data['inputs'][0].shape)
        self.size = (self.shape, tuple(self.sample.get('ori_shape', ())))
        self.is_key = False
        self.ahead = data.get('ahead')
        self.inputs = None
        self.results: SampleList = []

    def advance(self) -> None:
        """Go on to the next frame of the stream."""
        self.state.index += 1
        self.state.distance = 1 if self.is_key else self.state.distance + 1
