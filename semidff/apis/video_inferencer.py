"""Video detection from Python."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device

from semidff.adaptation.folder import AdaptedFolder
from semidff.checkpoints.detectors import read_model
from semidff.checkpoints.safe import trusted
from semidff.datasets.video_readers import Frame, FrameStream, LiveOptions, open_any
from semidff.datasets.video_readers.sources import READ_AHEAD, prefetch, videos_of
from semidff.inference import KeyFrameSchedule, MethodError, Point, Stages
from semidff.inference.executors import default_runtime
from semidff.inference.loading import frame_pipeline, load_model
from semidff.inference.outputs import Output, OutputFiles, check_limits
from semidff.inference.page import Page, once
from semidff.utils.logs import log_warning
from semidff.utils.progress import track
from semidff.utils.stopping import exits_on_sigterm
from semidff.utils.threads import default_workers
from semidff.visualization.frames import check_panels, render_frame

from .failures import Failures


class VideoInferencer:
    """Detect objects in videos, or segment them, with the stages of ``tools/test.py``.

    Names and arguments follow mmdet's ``DetInferencer``, but a call returns an iterator, since a
    video may be endless: a frame is detected and written when its result is requested, and read a
    few frames ahead. Memory does not grow with the video. Several iterators of an inferencer may
    run concurrently; they share only the model.

    Args:
        model: The config or its file, the name of an image detector of mmdet, or a folder of
            ``tools/adapt.py`` with config and checkpoint; None: the config in the checkpoint.
        weights: The checkpoint; None: random weights, with a warning.
        device: Device; default: a GPU if available.
        method: Method of a :class:`~semidff.inference.Point`; default: ``propagate``, or what a
            folder recommends.
        key_interval: Key-frame interval l; default: 10, or what a folder recommends.
        classes: Class names; default: those of the checkpoint or config.
        show_progress: Whether to display frames, frames per second and time left.
        panels: Panels beside the frames of annotated videos: ``flow``, feature flow, and ``scale``,
            scale field. Results then have ``feature_flow`` (2, h, w) in cells and ``scale_field``
            (1, h, w), the mean over channels.
        precision: ``fp32``, ``bf16`` or ``fp16``; default: that of the config's ``test_cfg.fp16``
            (which means bf16 on CPUs).
        channels_last: Memory layout of convolutions; default: whether the config has
            ``ChannelsLastHook``.
        compile: Whether to compile the networks.
        read_ahead: Number of frames that a thread decodes ahead, and a second one preprocesses;
            default: 4 for files, folders and lists, 0 for cameras and iterators.
        schedule: Key-frame schedule or its config in place of fixed intervals, for example
            ``dict(type='SceneCutSchedule', base=10)``.
        trust: Whether to load a checkpoint that can run code.
        filter: ``causal`` or ``both`` track objects, which improves results; ``identities`` only
            adds track ids; ``none``. Default: ``none``, or what a folder recommends.
        light_every: Distance between the non-key frames on which ``method`` detects, see
            :class:`~semidff.inference.Point`; default: 1, or what a folder recommends.
        workers: Number of threads that process intervals of a file or list concurrently on a CPU;
            default: PyTorch's threads but those of the decoder, at most 4.
        decoder_threads: Number of threads that decode a video file. With several, the frames of
            damaged files may depend on timing.
        graphs: Whether frames run as CUDA graphs; default: on a GPU, unless ``compile``.
        runtime: ``torch``, ``onnxruntime`` or ``openvino``. Default: what a folder recommends; else
            ``openvino`` on a CPU, if it is installed. With the default, the first frames run in
            PyTorch while another thread makes the graphs.
        cache: Folder of exported graphs; default: ``graphs`` in a folder of ``tools/adapt.py``.
        keep_damaged: Whether frames that damage may have reached are used, as far as FFmpeg decodes
            them.
        live: How cameras, addresses and pipes are read: ``newest``, ``every-frame``, or
            :class:`~semidff.datasets.video_readers.LiveOptions`.
        latency: Of live video: ``bounded``, no frame waits for key frames, which a second thread
            detects, or ``synchronous``. Default: ``bounded`` for sources that drop frames, where
            method and device allow it.
        point: Operating point, in place of what a folder recommends. ``method``, ``key_interval``,
            ``filter``, ``light_every``, ``runtime`` and ``precision`` replace its fields.

    Attributes:
        model: The video detector.
        stages: The stages through which frames travel.
        point: The operating point.

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
        *,
        method: str | None = None,
        key_interval: int | None = None,
        classes: Sequence[str] | None = None,
        show_progress: bool = True,
        panels: Sequence[str] = (),
        precision: str | None = None,
        channels_last: bool | None = None,
        compile: bool = False,
        read_ahead: int | None = None,
        schedule: KeyFrameSchedule | dict | None = None,
        trust: bool = False,
        filter: str | None = None,
        light_every: int | None = None,
        workers: int | None = None,
        decoder_threads: int = 1,
        graphs: bool | None = None,
        runtime: str | None = None,
        cache: str | Path | None = None,
        keep_damaged: bool = False,
        live: str | LiveOptions = 'newest',
        latency: str | None = None,
        point: Point | None = None,
    ) -> None:
        options = dict(method=method, key_interval=key_interval, filter=filter)
        options |= dict(light_every=light_every, runtime=runtime, precision=precision)
        default = Point(runtime=default_runtime(device, compile, graphs))
        self.point = (point or default).changed(**options)
        if isinstance(model, str | Path) and Path(model).is_dir():
            folder = AdaptedFolder.read(model, point, **options)
            cache = cache or folder.path / 'graphs'
            self.point = folder.point
            model, weights = folder.config, weights or folder.weights
        self.read_ahead, self.panels, self.show_progress = read_ahead, tuple(panels), show_progress
        if isinstance(live, str):
            live = LiveOptions(live, threads=decoder_threads)
        self._reading = dict(decoder_threads=decoder_threads, keep_damaged=keep_damaged, live=live)
        self._files = [str(file) for file in (model, weights) if isinstance(file, str | Path)]
        if isinstance(model, str | Path):
            config = read_model(model)
        else:  # an empty config stands for that of the checkpoint
            config = copy.deepcopy(model if isinstance(model, Config) else ConfigDict(model or {}))
        with trusted(trust):
            executor = load_model(
                config,
                None if weights is None else str(weights),
                device or get_device(),
                self.point,
                classes,
                channels_last,
                compile,
                graphs,
                cache,
                waits=runtime is not None,
            )
        self.model = executor.model
        self.pipeline = frame_pipeline(self.model.cfg, scale=self.point.scale)
        self.stages = Stages(executor, self.point, schedule, keep_fields=bool(panels))
        self.workers = workers or default_workers(decoder_threads)
        self._latency = latency
        if latency not in (None, 'bounded', 'synchronous'):
            raise ValueError(f'{latency=}: give bounded or synchronous')
        if latency == 'bounded' and not self.stages.can_be_bounded:
            raise MethodError(
                'bounded delay needs a CPU, and a method with results between key frames and '
                'without later ones'
            )
        check_panels(self.panels, self.stages.method)

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
        only_classes: Sequence[str] | None = None,
        min_score: float = 0.0,
        out_mot: str | Path | None = None,
        serve: int | str | None = None,
    ) -> Iterator[DetDataSample]:
        """Detect objects in videos, or segment them.

        Args:
            inputs: A video: the path of a file or of a folder of frames, a glob, a pattern of image
                files (``%06d.png``), a camera index, an address (``rtsp://...``), a list or an
                iterator of arrays (H, W, 3) uint8 BGR; or a list or tuple of videos, or a glob of
                several, processed one after the other. Videos that fail are skipped; a
                :class:`VideoError` after the results of the others names them.
            out_video: Annotated mp4 without sound, with the frames and time stamps of the input;
                for several videos a folder.
            out_json: All detections as COCO-VID json; with the suffix ``.jsonl``, or to standard
                output (``-``), a line for each frame.
            out_txt: All detections in the ILSVRC format, frames counted from 1.
            pred_score_thr: Detections with lower scores are not drawn; results and other outputs
                have them.
            fps: Constant frame rate of the mp4; frame rate of folders and arrays (default: 25).
            max_frames: Maximum number of frames per video.
            strict: Whether unreadable frames are an error, raised after the other results, or a
                warning.
            out_labels: Folder of label maps, ``<video>/000000.png``, of a segmentation network.
            only_classes: Names of the classes that results and outputs have; None: all.
            min_score: Detections with lower scores are in no result and no output.
            out_mot: Boxes with track ids as text of MOTChallenge, which needs a filter; for several
                videos a folder.
            serve: Address of a page with the annotated frames, see
                :class:`~semidff.inference.page.Page`.

        Returns:
            The frames' results in order, with ``pred_instances`` or ``pred_sem_seg`` (pixels of the
            original frame) and the metainfo ``video_name``, ``video_id``, ``frame_id``,
            ``timestamp`` (seconds), ``is_key_frame``, ``dropped`` (frames of a live source before
            this frame), ``img_path`` (of frames that are files) and ``ori_shape``. A change of the
            frame size and a gap in time begin with a key frame. Outputs get their names when the
            iterator ends or is closed, or an exception or SIGTERM ends it; at an early end, the
            json has ``complete: false``, and a warning names the outputs.
        """
        check_limits(fps, max_frames, pred_score_thr)
        limit = self.limiter(only_classes, min_score)
        if out_mot and not self.point.filter:
            raise ValueError(
                f"{out_mot}: needs identities; add filter='identities', or another filter"
            )
        videos, classes = videos_of(inputs), self.model.dataset_meta['classes']
        files = OutputFiles(out_video, out_json, out_txt, out_labels, out_mot)
        files.check(self.model.spatial.prediction, videos, self._files)
        draw = partial(render_frame, classes=classes, score_thr=pred_score_thr, panels=self.panels)
        pages = [] if serve is None else [Page(serve, draw := once(draw))]
        outputs = files.writers(classes, draw, fps) + pages
        opened = partial(self.open, fps=fps, strict=strict)
        if len(videos) == 1:  # an input that cannot be read is refused at once
            videos = [opened(videos[0])]
        return self._results(videos, opened, outputs, str(files), limit, max_frames)

    def limiter(
        self, classes: Sequence[str] | None, min_score: float = 0.0
    ) -> Callable[[DetDataSample], None]:
        """Return a function that removes unwanted detections from a result."""
        if classes is None and not min_score:
            return lambda sample: None
        names = self.model.dataset_meta['classes']
        if unknown := [name for name in classes or () if name not in names]:
            raise ValueError(f'the detector has no classes {unknown}; it has {", ".join(names)}')
        if self.model.spatial.prediction != 'pred_instances':
            raise ValueError('only_classes and min_score are for detectors')
        labels = torch.tensor([names.index(name) for name in classes or ()])

        def limit(sample: DetDataSample) -> None:
            boxes = sample.pred_instances
            kept = boxes.scores >= min_score
            if classes is not None:
                kept &= torch.isin(boxes.labels, labels)
            sample.pred_instances = boxes[kept]

        return limit

    def _results(
        self,
        videos: Sequence[Any],
        opened: Callable[..., FrameStream],
        outputs: Sequence[Output],
        files: str,
        limit: Callable[[DetDataSample], None],
        max_frames: int | None,
    ) -> Iterator[DetDataSample]:
        count, failures = 0, Failures(self.model, len(videos))
        with ExitStack() as stack:
            if outputs:
                stack.enter_context(exits_on_sigterm())
            for output in outputs:
                stack.enter_context(output)
            try:
                for video_id, video in enumerate(videos):
                    with failures.skipped(video), ExitStack() as reading:
                        stream = opened(video, name=f'frames{video_id or ""}')
                        frames = self.frames_of(stream, video_id, max_frames)
                        run = self._run(stream, reading.enter_context(frames))
                        reading.enter_context(closing(run))
                        if self.show_progress:
                            run = track(run, stream.name, max_frames or stream.length)
                        for output in outputs:
                            output.start(stream.name)
                        for frame in run:
                            sample = frame.sample
                            if frame.arrival is not None:
                                sample.set_metainfo(dict(delay=stream.delay_of(frame)))
                            limit(sample)
                            for output in outputs:
                                output.add(sample, frame.image)
                            del frame  # Its masks would be in memory until the next frame is there.
                            count += 1
                            yield sample
                        for output in outputs:
                            output.end()
                failures.check()
            except BaseException:
                if files and count:
                    log_warning(f'{files}: complete: false, {count} frames')
                raise

    def _run(self, stream: FrameStream, frames: Iterator[Frame]) -> Iterator[Frame]:
        """Yield the prepared frames of a video with their results."""
        if stream.drops and not self.point.is_causal:
            log_warning(
                f'{stream.name}: the results of {self.point} wait for later frames; for live '
                'video, give a causal method and filter'
            )
        if not stream.live:
            return self.stages.run(frames, self.workers)
        bounded = stream.drops if self._latency is None else self._latency == 'bounded'
        if bounded and self.stages.can_be_bounded:
            return self.stages.run_bounded(frames)
        return self.stages.run(frames, 1, 1)

    def open(
        self, video: Any, fps: float | None, strict: bool, name: str = 'frames'
    ) -> FrameStream:
        """Open a video, see :func:`~semidff.datasets.video_readers.open_any`."""
        return open_any(video, fps, strict, name=name, **self._reading)

    @contextmanager
    def frames_of(
        self, stream: FrameStream, video_id: int, max_frames: int | None
    ) -> Iterator[Iterator[Frame]]:
        """Yield the prepared frames of a video, read ahead; close the video in the end."""
        depth = (0 if stream.live else READ_AHEAD) if self.read_ahead is None else self.read_ahead
        images = prefetch(islice(stream, max_frames), depth)
        metainfo = dict(video_name=stream.name, video_id=video_id)
        prepared = self.stages.prepare(images, self.pipeline, **metainfo)
        # the threads that read ahead end before the stream is closed
        with closing(stream), closing(images), closing(prefetch(prepared, depth)) as frames:
            yield frames

    def preprocess(self, inputs: Frame, **metainfo: Any) -> dict:
        """Return the collated batch of one frame, with further metainfo of its sample."""
        (frame,) = self.stages.prepare([inputs], self.pipeline, **metainfo)
        return dict(inputs=[frame.inputs], data_samples=[frame.sample])
