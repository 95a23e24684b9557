"""Any video in, boxes out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.infer.infer import BaseInferencer
from mmengine.registry import init_default_scope
from torch import nn

from semidff.datasets.video_readers import Frame, FrameStream
from semidff.datasets.video_readers.read_ahead import checked_depth, made_ahead
from semidff.datasets.video_readers.sources import (
    Source,
    check_numbers,
    check_out_video,
    sources_of,
)
from semidff.inference import KeyFrameSchedule, VideoEngine, build_schedule
from semidff.inference.frame_pipeline import build_model, frame_pipeline
from semidff.inference.outputs.outputs import Output, open_outputs
from semidff.inference.outputs.result import Result, frame_metainfo
from semidff.inference.timer import NoTimer
from semidff.utils.progress import track
from semidff.visualization.frames import render_frame
from semidff.visualization.panels import check_panels


class VideoInferencer(BaseInferencer):
    """Detections for every frame of videos, by the engine that ``tools/test.py`` uses.

    Names and arguments follow mmdet's ``DetInferencer``. One thing differs: a call returns an
    iterator, not a dict of everything, since a video may have no end. A frame is detected and
    written when its result is asked for, and read a few frames ahead; memory does not grow with the
    video. Several iterators of one inferencer may run at the same time: they share the model and
    nothing else.

    Args:
        model (str | Path | Config | dict | None): The config, or its file; None takes the config
            that the checkpoint holds.
        weights (str | Path | None): The checkpoint; None: random weights, with a warning.
        device (str | None): Where to run; by default a GPU, if there is one.
        method (str): A method of :class:`~semidff.inference.VideoEngine`.
        key_interval (int): Key-frame duration l.
        scope (str): Registry scope.
        classes (Sequence[str] | None): Class names; by default those of checkpoint or config.
        show_progress (bool): Whether frames, frames per second and time left are shown.
        panels (Sequence[str]): What stands beside the frames of annotated videos: ``flow``, feature
            flow, and ``scale``, the scale field. Results then carry ``feature_flow`` (2, h, w) in
            cells and ``scale_field`` (1, h, w), its mean over channels.
        precision (str | None): ``fp32``, ``bf16`` or ``fp16``, see
            :class:`~semidff.inference.Acceleration`; None: that of the config's ``test_cfg``.
        channels_last (bool | None): Memory layout of convolutions; None: that of the config.
        compile (bool): Whether graphs are compiled.
        schedule (KeyFrameSchedule | dict | None): Another schedule than every ``key_interval`` frames, or its
            config, see :func:`~semidff.inference.schedule_config`.
        read_ahead (int | None): How many frames are decoded and resized ahead, in the background; 0:
            none. None: 4 of files, folders and lists, none of cameras and iterators.

    Raises:
        FileNotFoundError: There is no such config.
        CheckpointError: The checkpoint does not fit.
        MethodError: The method is unknown, or the model cannot do it; or there is nothing for a panel
            to show.

    Example:
        >>> inferencer = VideoInferencer('config.py', 'last.pth', key_interval=10)
        >>> for sample in inferencer('street.mp4', out_video='street_boxes.mp4'):
        ...     sample.pred_instances.bboxes, sample.timestamp
    """

    def __init__(
        self,
        model: str | Path | Config | dict | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        method: str = 'propagate',
        key_interval: int = 10,
        scope: str = 'mmdet',
        classes: Sequence[str] | None = None,
        show_progress: bool = True,
        panels: Sequence[str] = (),
        precision: str | None = None,
        channels_last: bool | None = None,
        compile: bool = False,
        read_ahead: int | None = None,
        schedule: KeyFrameSchedule | dict | None = None,
    ) -> None:
        self.schedule = None if schedule is None else build_schedule(schedule)
        self.read_ahead = checked_depth(read_ahead)
        self._speed = dict(precision=precision, channels_last=channels_last, compile=compile)
        self.panels = tuple(panels)
        self.method, self.key_interval, self.classes = method, key_interval, classes
        model = str(model) if isinstance(model, Path) else model
        if isinstance(model, str) and model.endswith('.py') and not Path(model).is_file():
            raise FileNotFoundError(f'{model}: there is no such config file')
        init_default_scope(scope)
        weights = None if weights is None else str(weights)
        super().__init__(model, weights, device, scope, show_progress)
        # both refuse what the model cannot do
        check_panels(self.panels, self.method, self.engine())

    def __call__(
        self,
        inputs: Any,
        out_video: str | Path | None = None,
        out_json: str | Path | None = None,
        out_txt: str | Path | None = None,
        pred_score_thr: float = 0.3,
        fps: float | None = None,
        max_frames: int | None = None,
        strict: bool = False,
    ) -> Iterator[DetDataSample]:
        """Detects in videos.

        Args:
            inputs: The path of a video file or of a folder of frames, a camera's index, an address
                (``rtsp://...``), a list or an iterator of arrays (H, W, 3) uint8 BGR; or a list or
                tuple of such videos, which are walked one after the other.
            out_video (str | Path | None): Annotated mp4, without sound: as many frames as the input
                and its mean frame rate. For several videos a folder.
            out_json (str | Path | None): All detections as COCO-VID json.
            out_txt (str | Path | None): All detections in ILSVRC's format, frames counted from 1.
            pred_score_thr (float): Detections with lower scores are not drawn; they are in the
                other outputs and in the results.
            fps (float | None): Frame rate of the mp4, and of videos that do not tell theirs (25).
            max_frames (int | None): How many frames of each video, at most.
            strict (bool): Whether frames that cannot be read are an error, not a warning.

        Returns:
            Iterator[DetDataSample]: The frames' results in order, with ``pred_instances`` (pixels of
            the original frame) and the metainfo ``video_name``, ``video_id``, ``frame_id``,
            ``timestamp`` (seconds), ``is_key_frame``, ``img_path`` (of frames that are files) and
            ``ori_shape``.  Outputs get their names when the iterator ends or is closed; on an error
            they are removed.  Where frames change size a new key frame begins.

        Raises:
            VideoError: A video cannot be opened or holds no frame; with ``strict``, is damaged.
            ValueError: Arguments that make no sense.
        """
        check_numbers(max_frames, fps)
        sources = sources_of(inputs, fps, strict)
        check_out_video(out_video, sources)
        outputs = open_outputs(
            classes=self.model.dataset_meta['classes'],
            draw=partial(self.visualize, pred_score_thr=pred_score_thr),
            out_video=out_video,
            out_json=out_json,
            out_txt=out_txt,
        )
        return self._walk(sources, outputs, fps, max_frames)

    def _walk(
        self,
        sources: list[Source],
        outputs: AbstractContextManager[list[Output]],
        fps: float | None,
        max_frames: int | None,
    ) -> Iterator[DetDataSample]:
        with outputs as opened:
            try:
                yield from self._videos(sources, opened, fps, max_frames)
            except GeneratorExit:
                return  # the caller has seen enough: the files are whole as far as they go

    def _videos(
        self,
        sources: list[Source],
        outputs: list[Output],
        fps: float | None,
        max_frames: int | None,
    ) -> Iterator[DetDataSample]:
        before = 0
        for video_id, source in enumerate(sources):
            stream = source.open()
            depth = source.depth if self.read_ahead is None else self.read_ahead
            rate = fps or (stream.mean_rate() if outputs else None)
            for output in outputs:
                output.start(stream.name, rate)
            number = before
            with closing(self._results(stream, video_id, max_frames, depth)) as results:
                for frame, sample in results:
                    number = before + frame.index + 1
                    self.postprocess(Result(frame, sample, number), outputs)
                    yield sample
            before = number
            for output in outputs:
                output.end()

    def _results(
        self, stream: FrameStream, video_id: int, max_frames: int | None, depth: int
    ) -> Iterator[tuple[Frame, DetDataSample]]:
        """Frames of a video with their results, and progress."""
        engine = self.engine()
        waiting: deque[Frame] = deque()  # offline methods answer later
        frames = made_ahead(self._prepared(stream, video_id, max_frames), depth)
        samples = self._finished(engine, frames, waiting)
        if self.show_progress:
            samples = track(samples, stream.name, max_frames or stream.length)
        try:
            for sample in samples:
                yield waiting.popleft(), sample
        finally:
            frames.close()  # whoever reads ahead has stopped when the stream is closed
            stream.close()

    def _prepared(
        self, stream: FrameStream, video_id: int, max_frames: int | None
    ) -> Iterator[tuple[Frame, dict]]:
        """Frames and batches of them."""
        for frame in islice(stream, max_frames):
            yield frame, self.preprocess(frame, video_name=stream.name, video_id=video_id)

    def _finished(
        self, engine: VideoEngine, frames: Iterator[tuple[Frame, dict]], waiting: deque[Frame]
    ) -> Iterator[DetDataSample]:
        for frame, batch in frames:
            waiting.append(frame)
            yield from self.forward(batch, engine)
        yield from engine.flush()

    def preprocess(self, inputs: Frame, **metainfo: Any) -> dict:
        """One frame through the test pipeline.

        Args:
            inputs (Frame): The frame.
            **metainfo: What else the frame's sample shall carry.

        Returns:
            dict: A collated batch of it.
        """
        packed = self.pipeline(dict(img=inputs.image))
        packed['data_samples'].set_metainfo(dict(metainfo, **frame_metainfo(inputs)))
        if next(self.model.parameters()).is_cuda:
            packed['inputs'] = packed['inputs'].pin_memory()  # the copy then waits for nothing
        return self.collate_fn([packed])

    def forward(self, inputs: dict, engine: VideoEngine) -> list[DetDataSample]:
        """Results that are finished with this batch of one frame."""
        return engine.push(inputs)

    def visualize(
        self, inputs: np.ndarray, preds: DetDataSample, pred_score_thr: float = 0.3
    ) -> np.ndarray:
        """A frame with its boxes, and a border if it is a key frame; panels beside it.

        Args:
            inputs (ndarray): The frame, (H, W, 3) uint8 BGR.
            preds (DetDataSample): Its result.
            pred_score_thr (float): Detections with lower scores are not drawn.

        Returns:
            ndarray: (H, (1 + number of panels) W, 3) uint8 BGR.
        """
        classes, is_key = self.model.dataset_meta['classes'], preds.is_key_frame
        return render_frame(inputs, preds, classes, is_key, pred_score_thr, self.panels)

    def postprocess(self, preds: Result, outputs: Iterable[Output] = ()) -> None:
        """Hands a frame's result to the outputs."""
        for output in outputs:
            output.add(preds)

    def engine(self) -> VideoEngine:
        """A new engine with these settings; it keeps no times, so that streams may be without end."""
        return VideoEngine(
            self.model,
            self.method,
            self.key_interval,
            self.schedule,
            timer=NoTimer(),
            keep_fields=bool(self.panels),
        )

    # --- what BaseInferencer calls when it is made ----------------------------------------------------------

    def _init_model(
        self, cfg: Config | ConfigDict, weights: str | None, device: str = 'cpu'
    ) -> nn.Module:
        return build_model(cfg, weights, device, self.method, self.classes, **self._speed)

    def _init_pipeline(self, cfg: Config | ConfigDict) -> Compose:
        return frame_pipeline(cfg)

    def _init_collate(self, cfg: Config | ConfigDict) -> Callable:
        if 'collate_fn' in cfg.test_dataloader:
            return super()._init_collate(cfg)
        return pseudo_collate  # BaseInferencer's choice as well, after a warning

    def _init_visualizer(self, cfg: Config | ConfigDict) -> None:
        """None: :meth:`visualize` draws; the config's visualizer is for training."""
