"""Video detection from Python."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
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
from semidff.datasets.video_readers.sources import (
    MAX_READ_AHEAD,
    Source,
    check_limits,
    prefetch,
    sources_of,
)
from semidff.inference import KeyFrameSchedule, VideoEngine, build_schedule
from semidff.inference.frame_pipeline import frame_pipeline, load_model
from semidff.inference.methods import method_class
from semidff.inference.outputs import Output, Result, check_kinds, check_out_video, open_outputs
from semidff.inference.timer import NoTimer
from semidff.utils.installed import installed_file
from semidff.utils.model_building import ConfigError, read_config
from semidff.utils.progress import track
from semidff.utils.safe_loading import trusted
from semidff.utils.tool_files import OutputFolder, OutputVideo, check_outputs
from semidff.visualization.frames import check_panels, render_frame

from .adapted_folder import AdaptedFolder


class VideoInferencer(BaseInferencer):
    """Detect objects in videos, or segment them, with the engine of ``tools/test.py``.

    Names and arguments follow mmdet's ``DetInferencer``, with one difference: a call returns an iterator,
    since a video may be endless. A frame is detected and written when its result is requested, and read a
    few frames ahead; memory does not grow with the video. Several iterators of one inferencer may run
    concurrently: they share the model only.

    Args:
        model: The config or its file, or a folder of ``tools/adapt.py``, which holds config and checkpoint; None: the
            config in the checkpoint.
        weights: The checkpoint; None: random weights, with a warning.
        device: Device; default: a GPU if available.
        method: Method of :class:`~semidff.inference.VideoEngine`; default: ``propagate``. What a folder recommends is
            used if neither method, ``key_interval`` nor ``schedule`` is given.
        key_interval: Key-frame interval l; default: 10.
        scope: Registry scope.
        classes: Class names; default: those of the checkpoint or config.
        show_progress: Whether to display frames, frames per second and time left.
        panels: Panels beside the frames of annotated videos: ``flow``, feature flow, and ``scale``, scale
            field. Results then have ``feature_flow`` (2, h, w) in cells and ``scale_field`` (1, h, w), the
            mean over channels.
        precision: ``fp32``, ``bf16`` or ``fp16``, see :class:`~semidff.inference.Acceleration`; default: that
            of the config's ``test_cfg.fp16`` (which means bf16 on CPUs, as in ``tools/test.py``).
        channels_last: Memory layout of convolutions; default: whether the config has ``ChannelsLastHook``.
        compile: Whether to compile the networks.
        read_ahead: Number of frames that are decoded and preprocessed ahead in the background. Default: 4
            for files, folders and lists, 0 for cameras and iterators.
        schedule: Key-frame schedule or its config, instead of one key frame every ``key_interval`` frames,
            see :func:`~semidff.inference.schedule_config`.
        trust: Whether to load a checkpoint that can run code.
        smooth_scores: Number of frames over which scores are averaged, see :class:`~semidff.inference.VideoEngine`.

    Raises:
        FileNotFoundError: There is no such config.
        CheckpointError: The checkpoint does not fit, or has no config and none is given.
        MethodError: The method is unknown or not supported by the model, or a panel has nothing to show.
        ValueError: The precision, ``key_interval`` or ``read_ahead`` is invalid.

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
        method: str | None = None,
        key_interval: int | None = None,
        scope: str = 'mmdet',
        classes: Sequence[str] | None = None,
        show_progress: bool = True,
        panels: Sequence[str] = (),
        precision: str | None = None,
        channels_last: bool | None = None,
        compile: bool = False,
        read_ahead: int | None = None,
        schedule: KeyFrameSchedule | dict | None = None,
        trust: bool = False,
        smooth_scores: int = 0,
    ) -> None:
        if read_ahead is not None and not 0 <= read_ahead <= MAX_READ_AHEAD:
            raise ValueError(
                f'read_ahead is {read_ahead}; it must be a number of frames from 0 to {MAX_READ_AHEAD}'
            )
        self._scale = 1.0
        if isinstance(model, str | Path) and Path(model).is_dir():
            folder = AdaptedFolder.read(Path(model))
            if method is key_interval is schedule is None:
                method, key_interval, schedule, self._scale = folder[3:]
            trained = method_class(method or 'propagate').uses_temporal
            model = folder.config
            weights = weights or (folder.weights if trained else folder.detector)
        self.schedule = None if schedule is None else build_schedule(schedule)
        self.read_ahead = read_ahead
        self.panels, self.smooth_scores = tuple(panels), smooth_scores
        self.method, self.classes = method or 'propagate', classes
        self.key_interval = 10 if key_interval is None else key_interval
        self._speed = precision, channels_last, compile
        self._read: list[str] = []
        if isinstance(model, str | Path):
            model = installed_file(model)
            if model.endswith('.py') and not Path(model).is_file():
                raise FileNotFoundError(f'{model}: there is no such config file')
            if Path(model).is_file():
                self._read.append(model)
                model = read_config(model)
                if 'model' not in model:
                    raise ConfigError(f"{self._read[0]}: has no model; give a detector's config")
        init_default_scope(scope)
        weights = None if weights is None else str(weights)
        self._read += [given for given in (model, weights) if isinstance(given, str)]
        with trusted(trust):
            super().__init__(model, weights, device, scope, show_progress)
        check_panels(self.panels, self.method, self.engine())  # engine() checks method and model

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
        out_labels: str | Path | None = None,
    ) -> Iterator[DetDataSample]:
        """Detect objects in videos, or segment them.

        Args:
            inputs: The path of a video file or of a folder of frames, a camera index, an address
                (``rtsp://...``), a list or an iterator of arrays (H, W, 3) uint8 BGR; or a list or tuple of
                such videos, which are processed one after the other.
            out_video: Annotated mp4, without sound, with the number of frames and the mean frame rate of the
                input. For several videos a folder.
            out_json: All detections as COCO-VID json.
            out_txt: All detections in the ILSVRC format, frames counted from 1.
            pred_score_thr: Detections with lower scores are not drawn; the other outputs and the results have
                all.
            fps: Frame rate of the mp4, and of videos whose rate is unknown (default: 25).
            max_frames: Maximum number of frames per video.
            strict: Whether unreadable frames are an error, not a warning.
            out_labels: Folder of label maps, ``<video>/000000.png``, of a segmentation network.

        Returns:
            The frames' results in order, with ``pred_instances`` or ``pred_sem_seg`` (pixels of the original frame)
            and the metainfo ``video_name``, ``video_id``, ``frame_id``, ``timestamp`` (seconds), ``is_key_frame``,
            ``img_path`` (of frames that are files) and ``ori_shape``. Outputs get their names when the iterator
            ends or is closed; on an error they are removed. A change of the frame size begins with a key frame.

        Raises:
            VideoError: A video cannot be opened or has no frame; with ``strict``, is damaged.
            ValueError: An argument is invalid.
        """
        check_limits(fps, max_frames, pred_score_thr)
        sources = sources_of(inputs, fps, strict)
        paths = [source.path for source in sources]
        check_out_video(out_video, paths)
        video = out_video and OutputVideo(out_video)
        labels = out_labels and OutputFolder(out_labels)
        check_outputs([video, out_json, out_txt, labels], [*paths, *self._read])
        check_kinds(self.engine().model.spatial.prediction, out_json or out_txt, out_labels, paths)
        draw = partial(self.visualize, pred_score_thr=pred_score_thr)
        classes = self.model.dataset_meta['classes']
        outputs = open_outputs(classes, draw, out_video, out_json, out_txt, out_labels, fps)
        return self._run(sources, outputs, max_frames)

    def _run(
        self,
        sources: list[Source],
        opening: AbstractContextManager[list[Output]],
        max_frames: int | None,
    ) -> Iterator[DetDataSample]:
        number = 0
        with opening as outputs:
            try:
                for video_id, source in enumerate(sources):
                    with self.open(source, video_id, max_frames) as (stream, frames):
                        rate = stream.mean_rate() if outputs else None
                        for output in outputs:
                            output.start(stream.name, rate)
                        before = number
                        for frame, sample in self._results(stream, frames, max_frames):
                            number = before + frame.index + 1
                            self.postprocess(Result(frame, sample, number), outputs)
                            yield sample
                        for output in outputs:
                            output.end()
            except GeneratorExit:
                return  # the caller stops early: the files are complete up to here

    def _results(
        self, stream: FrameStream, frames: Iterator[tuple[Frame, dict]], max_frames: int | None
    ) -> Iterator[tuple[Frame, DetDataSample]]:
        """Yield the frames of a video with their results, and show the progress."""
        engine = self.engine()
        waiting: deque[Frame] = deque()  # offline methods return results later

        def finished() -> Iterator[DetDataSample]:
            for frame, batch in frames:
                waiting.append(frame)
                yield from engine.push(batch)
            yield from engine.flush()

        samples = finished()
        if self.show_progress:
            samples = track(samples, stream.name, max_frames or stream.length)
        for sample in samples:
            yield waiting.popleft(), sample

    @contextmanager
    def open(
        self, source: Source, video_id: int, max_frames: int | None
    ) -> Iterator[tuple[FrameStream, Iterator[tuple[Frame, dict]]]]:
        """Open a video; yield the stream, and its frames with their collated batches, read ahead."""
        stream = source.open()
        depth = source.depth if self.read_ahead is None else self.read_ahead
        batches = (
            (frame, self.preprocess(frame, video_name=stream.name, video_id=video_id))
            for frame in islice(stream, max_frames)
        )
        # the thread that reads ahead ends before the stream is closed
        with closing(stream), closing(prefetch(batches, depth)) as frames:
            yield stream, frames

    def preprocess(self, inputs: Frame, **metainfo: Any) -> dict:
        """Return the collated batch of one frame, with further metainfo of its sample."""
        packed = self.pipeline(dict(img=inputs.image))
        packed['data_samples'].set_metainfo(
            dict(
                metainfo,
                frame_id=inputs.index,
                timestamp=inputs.timestamp,
                img_path=inputs.path,
                ori_shape=inputs.image.shape[:2],
            )
        )
        if next(self.model.parameters()).is_cuda:
            packed['inputs'] = packed['inputs'].pin_memory()  # for a copy that does not block
        return self.collate_fn([packed])

    def visualize(
        self, inputs: np.ndarray, preds: DetDataSample, pred_score_thr: float = 0.3
    ) -> np.ndarray:
        """Draw a frame with its detections and panels, see :func:`~semidff.visualization.render_frame`."""
        classes = self.model.dataset_meta['classes']
        return render_frame(inputs, preds, classes, pred_score_thr, self.panels)

    def postprocess(self, preds: Result, outputs: Iterable[Output] = ()) -> None:
        """Add a frame's result to the outputs."""
        for output in outputs:
            output.add(preds)

    def engine(self) -> VideoEngine:
        """Build an engine with these settings. It keeps no times, since streams may be endless."""
        settings = self.method, self.key_interval, self.schedule
        return VideoEngine(self.model, *settings, NoTimer(), bool(self.panels), self.smooth_scores)

    def _init_model(
        self, cfg: Config | ConfigDict, weights: str | None, device: str = 'cpu'
    ) -> nn.Module:
        return load_model(cfg, weights, device, self.method, self.classes, *self._speed)

    def _init_pipeline(self, cfg: Config | ConfigDict) -> Compose:
        return frame_pipeline(cfg, scale=self._scale)

    def _init_collate(self, cfg: Config | ConfigDict) -> Callable:
        if 'collate_fn' in (cfg.get('test_dataloader') or {}):
            return super()._init_collate(cfg)
        return pseudo_collate  # the default of BaseInferencer, which warns

    def _init_visualizer(self, cfg: Config | ConfigDict) -> None:
        """Build none: :meth:`visualize` draws; the config's visualizer is for training."""
