"""Test and validation loops that walk videos frame by frame (DFF Algorithm 1)."""

from contextlib import nullcontext
from functools import partial

from mmdet.registry import LOOPS
from mmdet.structures import DetDataSample
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, TestLoop, ValLoop, autocast
from torch import nn
from torch.utils.data import DataLoader

from semidff.evaluation import VIDMetric
from semidff.inference import FrameTimer, MethodError, PairEngine, VideoEngine
from semidff.inference.methods import method_class
from semidff.inference.outputs import VideoOutput
from semidff.visualization.frames import render_frame

PROTOCOLS = ('dense', 'pairs')


class VideoWalk:
    """What both loops share; one pass over this process's videos.

    The data loader must yield batches of one frame, each video's frames together and in order
    (``VideoSampler``).  Processes need not hold equally many frames, or any: they only meet when
    the evaluator collects the results.
    """

    stage = 'test'

    def _configure(
        self,
        method: str,
        key_interval: int,
        warmup: int,
        protocol: str,
        schedule: dict | None,
        render: dict | None = None,
    ) -> None:
        self.method = method
        self.key_interval = key_interval
        self.schedule = schedule
        self.warmup = warmup
        self.protocol = protocol
        self.render = None
        if render:
            self.render = dict(render)
            self.render.setdefault('with_flow', method_class(method).shows_flow)
        self._check_protocol()

    def _check_protocol(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise MethodError(f'protocol {self.protocol!r} is unknown; choose one of {PROTOCOLS}')
        if self.protocol == 'dense':
            return
        if self.schedule is not None:
            raise MethodError(
                "protocol 'pairs' has every distance from the key frame and no schedule; leave out "
                f'schedule={self.schedule}'
            )
        if self.render is not None:
            raise MethodError("protocol 'pairs' renders no videos; leave out render")
        others = [type(m).__name__ for m in self.evaluator.metrics if not isinstance(m, VIDMetric)]
        if others:
            raise MethodError(
                f"protocol 'pairs' gives several results per frame, which only VIDMetric can tell "
                f'apart; take {", ".join(others)} out of the evaluator'
            )

    def run(self) -> dict:
        """Walks all videos.

        Returns:
            dict: The evaluator's metrics; on rank 0 also the times of :class:`FrameTimer`, and what the schedule
            came to.
        """
        self.runner.call_hook(f'before_{self.stage}')
        self.runner.call_hook(f'before_{self.stage}_epoch')
        timer = self._build_timer()
        self._walk(timer)
        metrics = self.evaluator.evaluate(self._size())
        if is_main_process():
            metrics.update(timer.summary())
            if self.protocol == 'dense':
                metrics.update(timer.schedule_summary())
        self.runner.call_hook(f'after_{self.stage}_epoch', metrics=metrics)
        self.runner.call_hook(f'after_{self.stage}')
        return metrics

    def _walk(self, timer: FrameTimer) -> None:
        engine = self._build_engine(timer)
        order = FrameOrder()
        with self._build_renderer() or nullcontext() as self.renderer:
            for index, data in enumerate(self.dataloader):
                self._step(engine, order, index, data)
            self._finish(self._flushed(engine))

    def _step(self, engine: VideoEngine, order: 'FrameOrder', index: int, data: dict) -> None:
        self.runner.call_hook(f'before_{self.stage}_iter', batch_idx=index, data_batch=data)
        sample = data['data_samples'][0]
        finished = []
        if order.begins_video(sample):
            finished = self._finish(self._flushed(engine))
            engine.reset()
            if self.renderer is not None:
                self.renderer.start(sample.get('video_name', sample.video_id))
        with autocast(enabled=self.fp16):
            results = engine.push(data)
        finished = finished + self._finish(results)
        self.runner.call_hook(
            f'after_{self.stage}_iter', batch_idx=index, data_batch=data, outputs=finished
        )

    def _flushed(self, engine: VideoEngine | PairEngine) -> list[DetDataSample]:
        with autocast(enabled=self.fp16):
            return engine.flush()

    def _finish(self, results: list[DetDataSample]) -> list[DetDataSample]:
        for sample in results:
            if self.renderer is not None:
                self.renderer.render(sample)
                for field in ('feature_flow', 'scale_field'):
                    sample.pop(field, None)
        if results:
            # Results may be of earlier frames than the current batch, so no batch is passed along.
            self.evaluator.process(data_samples=results, data_batch=None)
        return results

    def _build_engine(self, timer: FrameTimer) -> VideoEngine | PairEngine:
        model = _unwrapped(self.runner.model)
        if self.protocol == 'pairs':
            return PairEngine(model, self.method, self.key_interval, timer)
        keep_fields = self.render is not None and self.render['with_flow']
        return VideoEngine(
            model, self.method, self.key_interval, self.schedule, timer, keep_fields=keep_fields
        )

    def _build_timer(self) -> FrameTimer:
        # pairs are no schedule: their key frames and other frames come in other proportions
        interval = 1 if self.method == 'frame' else self.key_interval
        return FrameTimer(self.warmup, interval if self.protocol == 'pairs' else None)

    def _size(self) -> int:
        """Number of frames that have results, in all processes together."""
        dataset = self.dataloader.dataset
        if self.protocol == 'dense':
            return len(dataset)
        infos = (dataset.get_data_info(index) for index in range(len(dataset)))
        return sum(bool(info.get('is_labeled', True)) for info in infos)

    def _build_renderer(self) -> VideoOutput | None:
        if self.render is None:
            return None
        options = dict(self.render)
        draw = partial(
            render_frame,
            classes=self.dataloader.dataset.metainfo['classes'],
            score_thr=options.pop('score_thr', 0.3),
            panels=('flow',) if options.pop('with_flow') else (),
        )
        return VideoOutput(options.pop('out_dir'), draw, **{'fps': 10.0, **options})


@LOOPS.register_module()
class VideoTestLoop(VideoWalk, TestLoop):
    """Test loop over videos.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): Batches of one frame, with ``VideoSampler``.
        evaluator (Evaluator | dict | list): Metrics.
        fp16 (bool): Whether to run under autocast.
        method (str): Of :class:`~semidff.inference.VideoEngine`.
        key_interval (int): Key-frame duration l.
        warmup (int): Frames of each kind whose times do not count.
        render (dict | None): Rendered videos: ``out_dir`` and optionally ``max_videos``, ``fps`` (10),
            ``score_thr`` (0.3) and ``with_flow`` (panel with the feature flow; True if the method
            propagates features).  None: no videos.  With several processes each renders the first of its own
            videos.
        protocol (str): ``dense``: each frame once, at its place in the schedule.  ``pairs`` (DFF
            5.2): each labeled frame at every distance 0 ... l - 1 from its key frame.
        schedule (dict | None): Config of another schedule than every ``key_interval`` frames
            (``TASK_UTILS``), for protocol ``dense``.

    Raises:
        MethodError: If the protocol is unknown, or has no place for ``render``, ``schedule`` or a metric.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        method: str = 'propagate',
        key_interval: int = 10,
        warmup: int = 3,
        render: dict | None = None,
        protocol: str = 'dense',
        schedule: dict | None = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self._configure(method, key_interval, warmup, protocol, schedule, render)


@LOOPS.register_module()
class VideoValLoop(VideoWalk, ValLoop):
    """Validation during training, over videos; see :class:`VideoTestLoop`.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader | dict): Batches of one frame, with ``VideoSampler``.
        evaluator (Evaluator | dict | list): Metrics.
        fp16 (bool): Whether to run under autocast.
        method (str): As in :class:`VideoTestLoop`.
        key_interval (int): Key-frame duration l.
        warmup (int): Frames of each kind whose times do not count.
        protocol (str): As in :class:`VideoTestLoop`.
        schedule (dict | None): As in :class:`VideoTestLoop`.
    """

    stage = 'val'

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        method: str = 'propagate',
        key_interval: int = 10,
        warmup: int = 3,
        protocol: str = 'dense',
        schedule: dict | None = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self._configure(method, key_interval, warmup, protocol, schedule)


class FrameOrder:
    """Checks that frames come video by video and in order: propagation means nothing otherwise."""

    def __init__(self) -> None:
        self._seen: set = set()
        self._video = self._frame = None

    def begins_video(self, sample: DetDataSample) -> bool:
        """Whether a frame is the first of another video.

        Args:
            sample (DetDataSample): With ``video_id`` and ``frame_id`` in its metainfo.

        Raises:
            ValueError: If the frame does not say where it belongs, or comes out of order.
        """
        if 'video_id' not in sample or 'frame_id' not in sample:
            raise ValueError(
                f'{sample.get("img_path")}: the sample has no video_id and frame_id; list both in '
                "PackDetInputs' meta_keys"
            )
        video, frame, last = sample.video_id, sample.frame_id, self._frame
        begins = video != self._video
        if (begins and video in self._seen) or (not begins and frame <= last):
            raise ValueError(
                f'frame {frame} of video {video} comes out of order (after frame {last} of video '
                f"{self._video}): use sampler=dict(type='VideoSampler') in the data loader"
            )
        self._seen.add(video)
        self._video, self._frame = video, frame
        return begins


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
