"""Accuracy and time of operating points, and the speed of detectors side by side."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from semidff.checkpoints.detectors import read_model
from semidff.datasets.vid_json import check_frames_between
from semidff.inference import Acceleration
from semidff.inference.executors import Executor
from semidff.inference.loading import load_model
from semidff.inference.point import Point, grid
from semidff.points.clips import MAX_FRAMES, Clip, labeled_clips, labels_of
from semidff.points.live import measure_live
from semidff.points.measure import measure
from semidff.points.report import verdict, write_report
from semidff.points.speed_rows import Row, measure_speed, speed_tables
from semidff.points.table import Table, key_of
from semidff.synthetic.smooth_video import write_smooth_video
from semidff.utils.atomic_write import write_json
from semidff.utils.command_line import Checkpoint, Count, Input, Output
from semidff.utils.progress import time_left
from semidff.utils.tables import text_table

UNTRAINED = 'frame', 'track', 'interpolate'

_SHAPE = 600, 1000  # of the synthetic video


@dataclass
class Grid:
    """Operating points.

    Attributes:
        methods: Default: frame, track, interpolate, with a temporal module propagate.
        key_intervals: Key-frame intervals.
        scales: Input sizes relative to the config's.
        light_every: Distances between the light frames; other non-key frames are tracked.
        filters: Filters of the results: none, causal, both.
        runtime: What computes the frames.
    """

    methods: Sequence[str] | None = None
    key_intervals: Sequence[Count] = (2, 5, 10, 20)
    scales: Sequence[float] = (1.0, 0.75, 0.5)
    light_every: Sequence[int] = (1,)
    filters: Sequence[str] = ('none',)
    runtime: str = 'torch'

    def points(self, has_temporal: bool) -> list[Point]:
        """Return the points, the detector at each input size among them."""
        methods = self.methods or [*UNTRAINED, *(['propagate'] if has_temporal else [])]
        filters = [None if name == 'none' else name for name in self.filters]
        common = dict(scale=self.scales, filter=filters, runtime=[self.runtime])
        others = dict(key_interval=self.key_intervals, light_every=self.light_every)
        return grid(method=['frame'], **common) + grid(method=methods, **others, **common)


@dataclass
class Protocol:
    """On what points are measured, and how.

    Attributes:
        videos: Unlabeled videos: files or folders of frames.
        labels: COCO-VID json (default: the config's test data).
        images: Images of --labels (default: its folder, or one beside it with its name).
        phases: Average accuracy over N phases of the key frames.
        rounds: Rounds of the measurement of time.
        max_loss: Largest loss of the recommended points in AP and in AP_50, in points.
        min_score: Lowest score of a reference box, without labels.
        max_frames: First frames of each of the videos that are used.
        live_rate: Measure the streaming accuracy of the best causal points with a camera of so many
            frames per second, in real time.
    """

    videos: Sequence[str] | None = None
    labels: Input | None = None
    images: Input | None = None
    phases: Count = 1
    rounds: Count = 5
    max_loss: float = 3.0
    min_score: float = 0.3
    max_frames: Count = 300
    live_rate: float | None = None


def operating_points(
    config: Input,
    checkpoint: Checkpoint,
    *,
    out: str | Path,
    points: Grid,
    protocol: Protocol,
    detector: Checkpoint | None = None,
    device: str | None = None,
    cfg_options: dict | None = None,
) -> str:
    """Compare operating points of a video detector: accuracy and time.

    Points are methods, key-frame intervals and input sizes, the detector at smaller ones, track and
    interpolate among them; the report says whether propagation is worth it. Accuracy is that on the
    config's test data or on --labels. With --videos, which need no labels, it is the agreement with
    the detector. What the folder has is not measured again.

    Args:
        config: Config of a video detector or of a detector.
        checkpoint: Its weights.
        out: Folder for report.md, report.png and points.json.
        detector: Weights of the detector before stage two, which may change its heads: for the
            dense detector and methods without training (default: those of the checkpoint).
        device: Where to run (default: a GPU if available).
        cfg_options: Settings that replace those of the config.

    Returns:
        The verdict.
    """
    out, cfg = Path(out), read_model(config, cfg_options)
    has_temporal = bool(cfg.get('model', {}).get('temporal'))
    chosen, untrained = points.points(has_temporal), str(detector or checkpoint)

    @cache
    def load_weights(weights: str, method: str) -> Executor:
        return load_model(cfg, weights, device, Point(method, runtime=points.runtime))

    def load(point: Point) -> Executor:
        if point.uses_temporal or (has_temporal and not detector):
            return load_weights(str(checkpoint), 'propagate')
        return load_weights(untrained, 'frame')

    labels, truth = None, None
    stop = min(protocol.max_frames, MAX_FRAMES)
    clips = [Clip(video, 0, stop) for video in protocol.videos or ()]
    if not protocol.videos:
        labels, images = protocol.labels, protocol.images
        if not labels:
            labels, images = labels_of(cfg)
        classes = load(Point('frame')).model.dataset_meta['classes'] or None
        clips, truth = labeled_clips(labels, images, classes)
        if others := dict.fromkeys(point.method for point in chosen if point.method != 'frame'):
            lengths = (len(clip.files) for clip in clips)
            check_frames_between(lengths, str(labels), ', '.join(others))
    settings = dict(min_score=protocol.min_score, phases=protocol.phases, device=device)
    key = key_of(cfg, untrained, clips, labels, str(checkpoint), **settings)
    table = Table.open(out / 'points.json', key)
    with time_left('measuring') as shown:
        measure(table, chosen, clips, load, truth, protocol.rounds, shown)
    if protocol.live_rate:
        progress = partial(print, file=sys.stderr, flush=True)
        measure_live(table, clips, load, protocol.live_rate, truth, progress)
    max_loss = protocol.max_loss / 100
    write_report(table, out, f'Operating points of {Path(config).stem}', max_loss)
    return f'{verdict(table, max_loss)}\n\n{out}: report.md, report.png, points.json'


@dataclass
class SpeedOptions:
    """Methods and speed options of a single detector.

    Attributes:
        methods: Methods; frame is always added.
        key_interval: Key-frame interval.
        precision: Precisions: fp32, bf16, fp16.
        runtime: What computes the frames: torch, onnxruntime, openvino.
        channels_last: Use channels-last maps in all measurements.
        compile: Also measure each precision with torch.compile; the warm-up takes minutes.
        graphs: On a GPU, run frames as CUDA graphs; otherwise, launch operators one by one.
    """

    methods: Sequence[str] = ('frame', 'propagate')
    key_interval: Count = 10
    precision: Sequence[str] = ('fp32',)
    runtime: Sequence[str] = ('torch',)
    channels_last: bool = False
    compile: bool = False
    graphs: bool | None = None

    def rows(self, config: Input, checkpoint: Checkpoint | None) -> list[Row]:
        """Return the rows of a detector."""
        weights, rows = checkpoint and str(checkpoint), {}
        for runtime in sorted(self.runtime, key=lambda name: name != 'torch'):
            is_torch = runtime == 'torch'
            graphs, compiled = self.graphs if is_torch else None, {False, self.compile and is_torch}
            for precision, compile in product(self.precision, sorted(compiled)):
                options = self.channels_last, compile, graphs
                name = Acceleration(precision, *options, runtime)
                for method in ('frame', *self.methods):
                    point = Point(method, self.key_interval, runtime=runtime, precision=precision)
                    label = f'{name}: {method}'
                    rows[label] = Row(label, str(config), weights, point, *options)
        return list(rows.values())


def speed(
    config: Input | None = None,
    checkpoint: Checkpoint | None = None,
    *,
    options: SpeedOptions,
    row: Sequence[str] = (),
    shape: tuple[Count, Count] | None = None,
    rounds: Count = 5,
    video: Input | None = None,
    out: Output | None = None,
    device: str | None = None,
    cfg_options: dict | None = None,
) -> str:
    """Measure the speed of one video detector, or of several detectors side by side.

    With CONFIG [CHECKPOINT]: methods and sets of speed options, relative to the dense detector and
    to DFF Eq. 7. Without CHECKPOINT the weights are random, so that post-processing takes longer
    than with trained ones; it also depends on the frames: give a --video. With --row: any
    detectors, methods, key-frame intervals and options. Everything is measured in one process,
    interleaved clip by clip.

    Args:
        config: Config of a video detector.
        checkpoint: Its weights (default: random ones).
        row: NAME=CONFIG,CHECKPOINT,METHOD,L[,OPTION=VALUE ...], in place of CONFIG, several times:
            METHOD as in tools/test.py, L the key-frame interval. The first row with method frame
            and the same speed options, or else with method frame, is the reference of the
            speed-ups. Options: scale=S (of the input size), light_every=N, filter=causal or both,
            precision, channels_last, compile, graphs, runtime.
        shape: Resize frames to this height and width of the network's input (default: the config's
            test pipeline).
        rounds: Rounds after the warm-up.
        video: Video file or folder of frames (default: a synthetic pan over a smooth texture; with
            --row the config's test data).
        out: Write the figures as JSON.
        device: Where to run (default: a GPU if available).
        cfg_options: Settings that replace those of every config.

    Returns:
        Tables.
    """
    if bool(row) == bool(config):
        raise ValueError('give either CONFIG [CHECKPOINT] or --row NAME=CONFIG,CHECKPOINT,METHOD,L')
    rows = [Row.parse(text) for text in row] or options.rows(config, checkpoint)
    report = (
        {}
        if row
        else dict(
            config=str(config),
            weights=str(checkpoint or 'random'),
            video=str(video or 'smooth texture'),
            shape=shape,
            device=device,
            threads=torch.get_num_threads(),
        )
    )
    with TemporaryDirectory() as folder:
        if not row and not video:
            count = options.key_interval * (rounds + 1)
            pan = Path(folder) / 'smooth.mp4'
            video = write_smooth_video(pan, count, *(shape or _SHAPE))
        progress = partial(print, flush=True)
        source = None if video is None else str(video)
        report |= measure_speed(
            rows, rounds, source, shape, cfg_options, device, parts=not row, progress=progress
        )
    if out:
        write_json(report, out, indent=2, nan_as_null=True)
    return '\n\n'.join(map(text_table, speed_tables(report)))
