"""Test loop over videos, frame by frame (DFF Algorithm 1)."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import groupby

import torch
from mmcv import imread
from mmdet.registry import LOOPS
from mmdet.structures import DetDataSample
from mmengine.dist import all_reduce, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop, autocast
from torch.utils.data import DataLoader

from semidff.checkpoints.building import unwrapped
from semidff.datasets.samplers import VideoSampler
from semidff.datasets.vid_json import check_frames_between
from semidff.datasets.video_readers import Frame
from semidff.filter import picture_of
from semidff.inference import MethodError, Point, Stages
from semidff.inference.methods import method_class
from semidff.inference.outputs import VideoOutput
from semidff.visualization.frames import render_frame


@LOOPS.register_module()
class VideoTestLoop(TestLoop):
    """Test loop over videos.

    The data loader must yield batches of one frame, with the frames of each video together and in order
    (``VideoSampler``). The processes of a distributed test may have different numbers of frames, or none: they
    synchronize only when the evaluator collects the results.

    Args:
        fp16: Whether to run under autocast.
        method: Method of a :class:`~semidff.inference.Point`; None is ``propagate`` for a model with a temporal
            module and ``frame`` for one without.
        key_interval: Key-frame interval l.
        render: Rendered videos: ``out_dir`` and optionally ``max_videos``, ``fps`` (10), ``score_thr`` (0.3) and
            ``with_flow`` (panel with the feature flow; by default if the method propagates features). None renders
            no videos. Each process renders the first of its own videos.
        protocol: ``dense`` evaluates each frame once, at its position in the schedule. ``pairs`` (DFF 5.2)
            evaluates each labeled frame at every distance 0 ... l - 1 from its key frame; it does not support the
            options that follow, nor ``render``.
        schedule: Config of a key-frame schedule (``TASK_UTILS``) in place of a fixed ``key_interval``.
        filter, light_every: See :class:`~semidff.inference.Point`; ``none`` is None.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        method: str | None = None,
        key_interval: int = 10,
        render: dict | None = None,
        protocol: str = 'dense',
        schedule: dict | None = None,
        filter: str | None = None,
        light_every: int = 1,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        temporal = getattr(unwrapped(runner.model), 'temporal', None)
        method = method or ('frame' if temporal is None else 'propagate')
        filter = None if filter == 'none' else filter
        self.point = Point(method, key_interval, light_every=light_every, filter=filter)
        self.schedule, self.pairs, self.render = schedule, protocol == 'pairs', None
        if render:
            has_flow = not self.point.uses_temporal or hasattr(temporal, 'fields')
            self.render = {'with_flow': method_class(method).propagates and has_flow, **render}
        if self.pairs:
            self._check_pairs(filter)
        elif protocol != 'dense':
            raise MethodError(f"protocol {protocol!r} is unknown; choose 'dense' or 'pairs'")
        if self.point.key_interval > 1 or self.point.filter or (schedule and method != 'frame'):
            self._check_lengths()
        sampler = self.dataloader.sampler
        if get_world_size() > 1 and not isinstance(sampler, VideoSampler):
            raise MethodError(
                f'{type(sampler).__name__} divides the frames of a video among the processes; use '
                "test_dataloader.sampler=dict(type='VideoSampler')"
            )

    def _check_lengths(self) -> None:
        dataset = self.dataloader.dataset
        frames = map(dataset.get_data_info, range(len(dataset)))
        lengths = (frame.get('video_length', math.inf) for frame in frames)
        source = getattr(dataset, 'ann_file', 'the test data')
        check_frames_between(lengths, source, f'method {self.point.method}')

    def _check_pairs(self, filter: str | None) -> None:
        options = dict(schedule=self.schedule, filter=filter, render=self.render)
        for name, value in options.items():
            if value:
                raise MethodError(f"protocol 'pairs' has no consecutive frames; leave out {name}")
        metrics = self.evaluator.metrics
        others = [type(m).__name__ for m in metrics if not getattr(m, 'takes_pairs', False)]
        if others:
            raise MethodError(
                "protocol 'pairs' yields several results per frame, which only VIDMetric and VideoIoUMetric support; "
                f'remove {", ".join(others)} from the evaluator'
            )

    def run(self) -> dict:
        """Run the test on all videos; return the evaluator's metrics, and what the schedule came to.

        ``schedule/interval`` is the number of frames per key frame, ``schedule/key_share`` its inverse.
        """
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self._counts = torch.zeros(2, dtype=torch.long)  # frames, key frames
        self._run_videos()
        metrics = self.evaluator.evaluate(self._num_frames())
        if not self.pairs:
            all_reduce(self._counts)
            frames, keys = self._counts.tolist()
            metrics |= {'schedule/interval': frames / keys, 'schedule/key_share': keys / frames}
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def _run_videos(self) -> None:
        keep_fields = self.render is not None and self.render['with_flow']
        model = unwrapped(self.runner.model)
        stages = Stages(model, self.point, self.schedule, keep_fields)
        frames = self._frames()
        with self._build_renderer() or nullcontext() as self.renderer:
            for (_, name), video in groupby(frames, _video_of):
                if self.renderer is not None:
                    self.renderer.start(name)
                if self.pairs:
                    results = stages.run_pairs(video)
                else:
                    results = (frame.sample for frame in stages.run(video, chunk=1))
                while (result := self._next(results)) is not None:
                    self._add(result)

    def _frames(self) -> Iterator[Frame]:
        """Yield the prepared frames of all videos; results are those of the frames that came before."""
        order = FrameOrder()
        for index, data in enumerate(self.dataloader):
            self.runner.call_hook('before_test_iter', batch_idx=index, data_batch=data)
            if len(data['data_samples']) != 1:
                raise ValueError(
                    f'a batch with {len(data["data_samples"])} frames, but videos are processed frame by frame: set '
                    'batch_size=1 in the data loader'
                )
            (inputs,), (sample,) = data['inputs'], data['data_samples']
            order.check(sample)
            frame = Frame(None, sample.frame_id, sample.get('timestamp'), sample.get('img_path'))
            frame.inputs, frame.sample, self._results = inputs, sample, []
            if self.point.filter:
                frame.picture = picture_of(imread(sample.img_path))  # that of VideoInferencer
            yield frame
            self.runner.call_hook(
                'after_test_iter', batch_idx=index, data_batch=data, outputs=self._results
            )

    def _next(self, results: Iterator[DetDataSample]) -> DetDataSample | None:
        with autocast(enabled=self.fp16):
            return next(results, None)

    def _add(self, sample: DetDataSample) -> None:
        self._results.append(sample)
        self._counts += torch.tensor([1, sample.is_key_frame])
        if self.renderer is not None:
            self.renderer.add(sample, imread(sample.img_path))
            for field in ('feature_flow', 'scale_field'):
                sample.pop(field, None)
        # The result may belong to an earlier frame than the current batch, so no batch is passed.
        self.evaluator.process(data_samples=[sample], data_batch=None)

    def _num_frames(self) -> int:
        """Return the number of frames with results, over all processes."""
        if not self.pairs:
            return len(self.dataloader.dataset)
        frames = map(self.dataloader.dataset.get_data_info, range(len(self.dataloader.dataset)))
        return sum(bool(frame.get('is_labeled', True)) for frame in frames)

    def _build_renderer(self) -> VideoOutput | None:
        if self.render is None:
            return None
        options = {'score_thr': 0.3, 'fps': 10.0, **self.render}
        draw = partial(
            render_frame,
            classes=self.dataloader.dataset.metainfo['classes'],
            score_thr=options.pop('score_thr'),
            panels=('flow',) if options.pop('with_flow') else (),
        )
        return VideoOutput(options.pop('out_dir'), draw, **options)


class FrameOrder:
    """Check that frames come video by video and in order, as propagation requires."""

    def __init__(self) -> None:
        self._seen: set = set()
        self._video = self._frame = None

    def check(self, sample: DetDataSample) -> None:
        """Take the next frame, with ``video_id`` and ``frame_id`` in its metainfo; ValueError if it is out of order."""
        if 'video_id' not in sample or 'frame_id' not in sample:
            raise ValueError(
                f'{sample.get("img_path")}: the sample has no video_id and frame_id; end the pipeline with '
                'PackVideoFrame in place of PackDetInputs'
            )
        video, frame = sample.video_id, sample.frame_id
        if video in self._seen if video != self._video else frame <= self._frame:
            raise ValueError(
                f'frame {frame} of video {video} is out of order (after frame {self._frame} of video {self._video}): '
                "use sampler=dict(type='VideoSampler') in the data loader"
            )
        self._seen.add(video)
        self._video, self._frame = video, frame


def _video_of(frame: Frame) -> tuple:
    video = frame.sample.video_id
    return video, frame.sample.get('video_name', video)
