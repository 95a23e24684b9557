"""Detection in a video, or in all videos of a folder, as a command."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from mmengine.logging import MMLogger

from semidff.adaptation.folder import AdaptedFolder
from semidff.datasets.video_folders import is_archive
from semidff.datasets.video_readers import LiveOptions, VideoError
from semidff.datasets.video_readers.sources import camera_of
from semidff.inference.options import MethodOptions
from semidff.utils.command_line import Checkpoint, Count, Input, Output
from semidff.utils.error_messages import FileError
from semidff.utils.files import check_outputs, without_secrets

from .archive import detect_archive
from .video_inferencer import VideoInferencer


@dataclass(frozen=True)
class Outputs:
    """What is written of a video, and what it shows.

    Attributes:
        out: Annotated mp4.
        json: All detections as COCO-VID json; with .jsonl, or - for standard output, a line per
            frame.
        txt: All detections in the ILSVRC format (frame class score x1 y1 x2 y2).
        mot: Identities, in the MOTChallenge format.
        labels: Label maps of a segmentation network, a png per frame.
        serve: Show the annotated frames in browsers, at http://127.0.0.1:PORT/; [HOST:]PORT.
        score_thr: Detections with lower scores are not drawn.
        output_score: Detections with lower scores are in no output.
        classes: Names of the classes that the outputs have (default: all).
        fps: Constant frame rate of the mp4 (default: the input's time stamps).
        max_frames: Maximum number of frames.
        strict: Treat unreadable frames as an error, not a warning.
    """

    out: str | None = None  # of an archive, it is continued
    json: Output | None = None
    txt: Output | None = None
    mot: Output | None = None
    labels: Output | None = None
    serve: str | None = None
    score_thr: float = 0.3
    output_score: float = 0.0
    classes: Sequence[str] | None = None
    fps: float | None = None
    max_frames: int | None = None
    strict: bool = False

    def files(self) -> dict[str, str | None]:
        """Return the outputs as arguments of the inferencer's call."""
        files = dict(out_video=self.out, out_json=self.json, out_txt=self.txt)
        return files | dict(out_labels=self.labels, out_mot=self.mot)

    def arguments(self) -> dict:
        """Return the other arguments of the inferencer's call."""
        limits = dict(only_classes=self.classes, min_score=self.output_score)
        return dict(
            pred_score_thr=self.score_thr,
            fps=self.fps,
            max_frames=self.max_frames,
            strict=self.strict,
            **{name: value for name, value in limits.items() if value},
        )


@dataclass(frozen=True)
class Live:
    """How cameras, addresses and pipes are read: the first fields of :class:`LiveOptions`.

    Attributes:
        live: Whether to drop frames that are too old.
        live_timeout: A live source that gives no frame for so many seconds is opened again.
        max_outage: End with an error after so many seconds without frames (default: never).
        ffmpeg: Options of FFmpeg for an address, for example rtsp_transport=udp.
    """

    live: Literal['newest', 'every-frame'] = 'newest'
    live_timeout: float = 10.0
    max_outage: float | None = None
    ffmpeg: dict[str, str] | None = None


@dataclass(frozen=True)
class Archive:
    """How a folder of videos is processed.

    Attributes:
        workers: For a folder of videos: N processes, started by Ray (default with --address: one
            per GPU or 4 cores).
        address: For a folder of videos: address of a Ray cluster; "auto" for that of this machine.
        no_video: For a folder of videos: write detections only, no mp4.
        overwrite: Replace existing outputs.
    """

    workers: Count | None = None
    address: str | None = None
    no_video: bool = False
    overwrite: bool = False


def detect(
    input: Input,
    model: Input,
    weights: Checkpoint | None = None,
    *,
    outputs: Outputs,
    points: MethodOptions,
    source: Live,
    archive: Archive,
    **options: VideoInferencer,
) -> None:
    """Detect objects in a video or segment it; write an annotated mp4, COCO-VID json, ILSVRC text
    or label maps.

    Memory does not grow with the video's length. After Ctrl-C or SIGTERM, the output files have the
    results so far.

    If INPUT is a folder of videos, ``--out`` is a folder for the results of each, and the same
    command continues after an interruption. ``--workers`` or ``--address`` shares the videos among
    processes.

    Args:
        input: Video file, folder of frames, glob, camera index, or address (rtsp://...); or a
            folder of videos.
        model: Config of the video detector, or the folder of an adaptation (tools/adapt.py), which
            is run as it recommends, for live video if INPUT is; options change their part of it.
        weights: Its checkpoint; not needed with a folder.
        options: Further arguments of the inferencer.
    """
    if not weights and not os.path.isdir(model):
        raise FileError(f'{model}: is no folder of an adaptation; a config needs a checkpoint')
    options |= dict(model=model, weights=weights, schedule=points.schedule())
    if os.path.isdir(model) and camera_of(input) is not None:
        options['point'] = AdaptedFolder.read(model).live
    for name in ('method', 'key_interval', 'filter', 'light_every'):
        options[name] = getattr(points, name)
    if is_archive(input):
        _detect_in_archive(input, outputs, archive, options)
        return
    if archive.workers or archive.address:
        raise FileError(
            f'{without_secrets(input)}: is no folder of videos; --workers and --address need one'
        )
    check_outputs([outputs.out], [input], archive.overwrite)
    say = partial(print, flush=True)
    if outputs.json == '-':
        say = partial(say, file=sys.stderr)
        with redirect_stdout(sys.stderr):  # which the log uses from now on
            MMLogger.get_current_instance()
    live = LiveOptions(*vars(source).values(), threads=options.get('decoder_threads', 1))
    inferencer = VideoInferencer(**options, live=live)
    say(f'{model} runs {inferencer.point}')
    _detect_in_video(inferencer, input, outputs, say)


def _detect_in_archive(videos: str, outputs: Outputs, archive: Archive, options: dict) -> None:
    out = outputs.out
    others = outputs.json, outputs.txt, outputs.labels, outputs.mot, outputs.serve
    if not out or Path(out).suffix == '.mp4' or any(others):
        raise FileError(
            f'{videos}: is a folder of videos; give --out DIR, a folder for the results of each, '
            'and no --json, --txt, --labels, --mot or --serve'
        )
    summary = detect_archive(
        videos,
        out,
        options.pop('model'),
        options.pop('weights'),
        archive.workers,
        archive.address,
        draw=not archive.no_video,
        overwrite=archive.overwrite,
        progress=partial(print, flush=True),
        call=outputs.arguments(),
        **options,
    )
    print(
        f'{summary["done"]} of {summary["videos"]} videos, {summary["frames"]} frames, '
        f'{summary["key_frames"]} key frames, {summary["seconds"]:.0f} s in all processes, '
        f'{len(summary["damaged"])} videos damaged'
    )
    if failures := len(summary['failed']):
        raise VideoError(videos, f'{failures} videos failed: {out}/summary.json')


def _detect_in_video(
    inferencer: VideoInferencer, video: str, outputs: Outputs, say: Callable[[str], None]
) -> None:
    """Detect in one video."""
    files = outputs.files()
    results = inferencer(video, **files, serve=outputs.serve, **outputs.arguments())
    frames = keys = dropped = 0
    start = time.perf_counter()
    for sample in results:
        frames += 1
        keys += sample.is_key_frame
        dropped += sample.dropped
    rate = f'{frames / (time.perf_counter() - start):.1f} fps from reading to writing'
    count = f'{frames} frames, {keys} key frames' + f', {dropped} dropped' * bool(dropped)
    say(f'{count}, {rate}: {", ".join(filter(None, files.values())) or "no output files"}')
