"""Walks through videos frame by frame with key frames in between (DFF Algorithm 1)."""

from collections.abc import Sequence

import torch
from mmdet.structures import DetDataSample, SampleList
from torch import Tensor, nn

from semidff.models.video_detector import FlowField, VideoDetector

from .methods import METHODS, MethodError, method_class
from .schedules.base import KeyFrameSchedule, build_schedule
from .stream_state import StreamState
from .timer import FrameTimer


class VideoEngine:
    """Gives detections for every frame of a video, or of many videos at a time.

    Args:
        model (nn.Module): A ``VideoDetector``, or any mmdet detector for the methods that need no
            temporal module.  It is put into eval mode.
        method (str): ``propagate`` (features carried by the temporal module), ``frame`` (spatial
            module on every frame), ``copy``, ``coast``, ``interpolate``, ``centered`` (features
            carried from the nearer key frame, offline), ``sff-fast`` or ``sff-slow`` (features carried by
            OpenCV's optical flow).
        key_interval (int): Key-frame duration l; ``frame`` ignores it.
        schedule (KeyFrameSchedule | dict | None): Another schedule than every ``key_interval`` frames, or its config.
        timer (FrameTimer | None): Where times are collected; a new one by default.
        keep_fields (bool): Whether propagated results carry ``feature_flow`` (2, h, w) and ``scale_field``
            (1, h, w), for pictures; without effect for methods that propagate none.

    Raises:
        MethodError: If the method is unknown, needs a temporal module that is not there, or cannot tell a
            schedule what it asks.

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
        timer: FrameTimer | None = None,
        keep_fields: bool = False,
    ) -> None:
        chosen = method_class(method)
        if not isinstance(model, VideoDetector):
            model = VideoDetector.wrap(model)
        self.model = model.eval()
        options = {'keep_fields': keep_fields} if chosen.shows_flow else {}
        self.method = chosen(model, **options)
        self.schedule = build_schedule(schedule or (1 if method == 'frame' else key_interval))
        if self.schedule.inspects and not self.method.inspectable:
            able = ', '.join(name for name, m in METHODS.module_dict.items() if m.inspectable)
            raise MethodError(
                f'{type(self.schedule).__name__} decides by the feature flow, which method {method!r} does not know '
                f'in time: choose one of {able}'
            )
        self.timer = timer or FrameTimer()
        self.reset()

    def open(self) -> StreamState:
        """The beginning of a stream; as many as wanted."""
        return StreamState(memory=self.method.begin())

    def reset(self) -> None:
        """Begins a new video; results that were not flushed are lost."""
        self.state = self.open()

    def push(self, data: dict, state: StreamState | None = None) -> SampleList:
        """Takes the next frame.

        A frame of another size than the one before begins anew, with a key frame.

        Args:
            data (dict): Collated test batch of one frame: ``inputs``, a list with one uint8 tensor
                (3, H, W), and ``data_samples``, a list with its ``DetDataSample``.
            state (StreamState | None): The stream, from :meth:`open`; by default the engine's own one.

        Returns:
            list[DetDataSample]: Results finished by now, in frame order.  Each has
            ``pred_instances`` (boxes in the original image) and the metainfo ``is_key_frame``.

        Raises:
            ValueError: If the batch does not hold exactly one frame.
        """
        return self.push_batch([data], [self.state if state is None else state])[0]

    @torch.no_grad()
    def push_batch(self, frames: Sequence[dict], states: Sequence[StreamState]) -> list[SampleList]:
        """Takes the next frame of each of several streams; frames of one size go through the network together.

        Args:
            frames (Sequence[dict]): A frame for each stream, as :meth:`push` wants it.
            states (Sequence[StreamState]): The streams, from :meth:`open`; all different.

        Returns:
            list[list[DetDataSample]]: What :meth:`push` returns, for each stream.

        Raises:
            ValueError: If a batch does not hold exactly one frame, or a stream occurs twice.
        """
        if len({id(state) for state in states}) < len(states):
            raise ValueError(
                'a stream occurs twice in a batch; push its frames one after the other'
            )
        steps = [self._begin(*pair) for pair in zip(frames, states, strict=True)]
        sizes = dict.fromkeys(step.shape for step in steps)
        for size in sizes:
            self._advance([step for step in steps if step.shape == size])
        return [step.results for step in steps]

    @torch.no_grad()
    def flush(self, state: StreamState | None = None) -> SampleList:
        """Results of a stream's last frames that :meth:`push` could not give yet."""
        return self.method.flush((self.state if state is None else state).memory)

    def _begin(self, data: dict, state: StreamState) -> '_Step':
        """What is known of a frame before the network runs."""
        if len(data['data_samples']) != 1:
            raise ValueError(
                f'a batch with {len(data["data_samples"])} frames; videos are walked frame by '
                'frame: set batch_size=1 in the data loader'
            )
        step = _Step(data, state)
        if state.size not in (None, step.size):
            step.results = self.flush(state)
            state.memory, state.distance, state.notes = self.method.begin(), 0, {}
        state.size = step.size
        step.is_key = state.distance == 0 or self.schedule.is_key(state, data)
        return step

    def _advance(self, steps: list['_Step']) -> None:
        """Takes frames of one size."""
        self._preprocess([s for s in steps if s.is_key or self.method.reads_non_key_frames])
        others = [step for step in steps if not step.is_key]
        flow_field = None
        if others and self.schedule.inspects:
            flow_field = self._inspect(others)
        self._run([step for step in steps if step.is_key], is_key=True)
        self._run([step for step in others if not step.is_key], is_key=False, flow_field=flow_field)
        for step in steps:
            step.state.index += 1
            step.state.distance = 1 if step.is_key else step.state.distance + 1

    def _preprocess(self, steps: list['_Step']) -> None:
        if not steps:
            return
        batch = dict(
            inputs=[step.data['inputs'][0] for step in steps],
            data_samples=[step.sample for step in steps],
        )
        batch = self.model.data_preprocessor(batch, False)
        for step, inputs, sample in zip(
            steps, batch['inputs'].split(1), batch['data_samples'], strict=True
        ):
            step.inputs, step.sample = inputs, sample

    def _inspect(self, steps: list['_Step']) -> FlowField:
        """Lets the schedule make key frames of frames whose flow_field is bad; returns that of the others."""
        with self.timer.measure(self._device()) as lap:
            memories = [step.state.memory for step in steps]
            flow_field = self.method.flow_field(_inputs(steps), memories)
            for index, step in enumerate(steps):
                step.is_key = step.is_rejected = self.schedule.rejects(
                    step.state, flow_field.select([index])
                )
        for step in steps:
            step.seconds += lap.seconds / len(steps)
        return flow_field.select([i for i, step in enumerate(steps) if not step.is_key])

    def _run(self, steps: list['_Step'], is_key: bool, flow_field: FlowField | None = None) -> None:
        if not steps:
            return
        inputs = None if steps[0].inputs is None else _inputs(steps)
        samples = [step.sample for step in steps]
        memories = [step.state.memory for step in steps]
        for step in steps:
            step.sample.set_metainfo({'is_key_frame': is_key})
            if is_key:
                self.schedule.note_key(step.state, step.data)
        with self.timer.measure(self._device()) as lap:
            results = (
                self.method.key(inputs, samples, memories)
                if is_key
                else self.method.non_key(inputs, samples, memories, flow_field)
            )
        for step, finished in zip(steps, results, strict=True):
            step.results += finished
            lost = step.seconds if step.is_rejected else None
            self.timer.add(is_key, step.seconds + lap.seconds / len(steps), lost)

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


class _Step:
    """A frame on its way through the engine.

    Args:
        data (dict): Collated test batch of the frame.
        state (StreamState): Its stream.
    """

    def __init__(self, data: dict, state: StreamState) -> None:
        self.data, self.state = data, state
        self.sample: DetDataSample = data['data_samples'][0]
        self.shape = tuple(data['inputs'][0].shape)
        self.size = (self.shape, tuple(self.sample.get('ori_shape', ())))
        self.is_key = self.is_rejected = False
        self.inputs: Tensor | None = None
        self.seconds = 0.0
        self.results: SampleList = []


def _inputs(steps: list[_Step]) -> Tensor:
    """Preprocessed frames as one batch; a single one, of a single stream, is not copied."""
    if len(steps) == 1:
        return steps[0].inputs
    return torch.cat([step.inputs for step in steps])
