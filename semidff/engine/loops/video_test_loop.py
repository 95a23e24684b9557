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

    The data loader must yield batches of one frame, with the frames of each video together and in
    order (``VideoSampler``). The processes of a distributed test may have different numbers of
    frames, or none: they synchronize only when the evaluator collects the results.

    Args:
        fp16: Whether to run under autocast.
        method, key_interval, filter, light_every: See :class:`~semidff.inference.Point`; the
            default method is ``propagate`` for a model with a temporal module, else ``frame``.
        render: Rendered videos: ``out_dir`` and optionally ``max_videos`` (of each process),
            ``fps`` (10), ``score_thr`` (0.3) and ``with_flow`` (panel with the feature flow; by
            default if the method propagates features). None renders no videos.
        protocol: ``dense`` evaluates each frame once, at its position in the schedule. ``pairs``
            (DFF 5.2) evaluates each labeled frame at every distance 0 ... l - 1 from its key frame.
        schedule: Config of a key-frame schedule (``TASK_UTILS``) in place of a fixed
            ``key_interval``.
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
        self.pairs = {'dense': False, 'pairs': True}[protocol]
        self.schedule, self.render = schedule, None
        if render:
            has_flow = not self.point.uses_temporal or hasattr(temporal, 'fields')
            self.render = {'with_flow': method_class(method).propagates and has_flow, **render}
        if self.pairs:
            metrics = self.evaluator.metrics
            others = [type(m).__name__ for m in metrics if not getattr(m, 'takes_pairs', False)]
            options = dict(schedule=schedule, filter=filter, render=render)
            others += [name for name, value in options.items() if value]
            if others:
                raise MethodError(
                    "protocol 'pairs' supports VIDMetric and VideoIoUMetric only, and has no "
                    f'consecutive frames; leave out {", ".join(others)}'
                )
        dataset, sampler = self.dataloader.dataset, self.dataloader.sampler
        if self.point.key_interval > 1 or self.point.filter or (schedule and method != 'frame'):
            lengths = (info.get('video_length', math.inf) for info in self._infos())
            source = getattr(dataset, 'ann_file', 'the test data')
            check_frames_between(lengths, source, f'method {method}')
        if not isinstance(sampler, VideoSampler) and (
            get_world_size() > 1 or getattr(sampler, 'shuffle', False)
        ):
            raise MethodError(
                f'{type(sampler).__name__} separates the frames of a video; use '
                "test_dataloader.sampler=dict(type='VideoSampler')"
            )

    def _infos(self) -> Iterator[dict]:
        dataset = self.dataloader.dataset
        return map(dataset.get_data_info, range(len(dataset)))

    def run(self) -> dict:
        """Run the test on all videos; return the metrics of the evaluator and of the schedule.

        ``schedule/interval`` is the number of frames per key frame, ``schedule/key_share`` its
        inverse.
        """
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self._counts = torch.zeros(2, dtype=torch.long)  # frames, key frames
        self._run_videos()
        labels = (not self.pairs or info.get('is_labeled', True) for info in self._infos())
        metrics = self.evaluator.evaluate(sum(map(bool, labels)))
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
        with self._build_renderer() or nullcontext() as self.renderer:
            for (_, name), video in groupby(self._frames(), _video_of):
                if self.renderer is not None:
                    self.renderer.start(name)
                if self.pairs:
                    results = stages.run_pairs(video)
                else:
                    results = (frame.sample for frame in stages.run(video, chunk=1))
                while (result := self._next(results)) is not None:
                    self._add(result)

    def _frames(self) -> Iterator[Frame]:
        """Yield the prepared frames of all videos; results belong to frames that came earlier."""
        for index, data in enumerate(self.dataloader):
            self.runner.call_hook('before_test_iter', batch_idx=index, data_batch=data)
            (inputs,), (sample,) = data['inputs'], data['data_samples']
            frame = Frame(None, sample.frame_id, sample.get('timestamp'), sample.get('img_path'))
            frame.inputs, frame.sample, self._results = inputs, sample, []
            if self.point.filter:
                frame.picture = picture_of(imread(sample.img_path))  # as in Stages.prepare
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


def _video_of(frame: Frame) -> tuple:
    video = frame.sample.video_id
    return video, frame.sample.get('video_name', video)
