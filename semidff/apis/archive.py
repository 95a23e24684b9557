"""Detection in all videos of a folder: in one process, or by workers on Ray, on one machine or on many.

What became of a video is written to its record when its results are complete. Only the process that hands out the
videos writes records.
"""

import hashlib
import json
import math
import os
import shutil
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
from mmengine.device import get_device

from semidff.datasets.video_folders import find_videos
from semidff.datasets.video_readers import (
    FrameStream,
    VideoError,
    VideoFile,
    VideoWarning,
    open_any,
)
from semidff.datasets.video_readers.video_file import VideoSegment
from semidff.inference.outputs import DetectionsOutput, check_limits
from semidff.inference.schedules import FixedSchedule
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.atomic_write import write_json
from semidff.utils.error_messages import FileError
from semidff.utils.files import file_state
from semidff.utils.image_detectors import config_text
from semidff.utils.run_folder import occupy
from semidff.utils.safe_loading import safe_loading, trusted
from semidff.utils.video_writer import join_videos

from .video_inferencer import AdaptedFolder, VideoInferencer

_TRIES = 3  # of a video that ends its worker
# Settings that results do not depend on.
_INDEPENDENT = {'device', 'read_ahead', 'decoder_threads', 'compile', 'graphs', 'trust', 'workers'}


def detect_archive(
    videos: str | Path,
    out: str | Path,
    model: str | Path,
    weights: str | Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    draw: bool = True,
    overwrite: bool = False,
    segment: int = 10_000,
    progress: Callable[[str], None] = print,
    options: dict[str, Any] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Detect in all videos of a folder that have no results yet.

    ``street.mp4`` has the results ``street.mp4.json``, detections as COCO-VID json, and ``street.mp4.boxes.mp4``,
    in the same sub-folder of ``out``. A segmentation network writes label maps to the folder ``street.mp4.labels`` in
    place of the json.

    A video that cannot be read is recorded with the reason and is not tried again until its file changes. So is one
    that ends its worker three times. Other errors, such as a full disk or those of a GPU, end the run.

    Args:
        videos: Folder of videos.
        out: Folder of the results: a new or empty one, or that of an earlier run.
        model: Config file, or folder of ``tools/adapt.py``.
        weights: Checkpoint; not needed with such a folder.
        workers: Number of processes, which Ray starts and replaces when they are lost. Default: one for each GPU of the
            cluster, or for each 4 cores; without ``address`` no Ray and this process alone.
        address: Address of a Ray cluster, ``auto`` for that of this machine.
        overwrite: Whether results of other settings are replaced and failed videos tried again.
        segment: Number of frames above which a video file is split, if its key frames have a fixed interval and its
            results depend on no earlier interval. Segments are processed like videos and joined.
        progress: Called with a line of text for each video.
        options: Arguments of the inferencer's call, without outputs.
        **arguments: Arguments of :class:`VideoInferencer`.

    Returns:
        The summary, which is in ``summary.json``, too: numbers of videos, frames and key frames, seconds of all
        workers, failed and damaged videos with the reasons, settings.
    """
    options = options or {}
    check_limits(options.get('fps'), options.get('max_frames'), options.get('pred_score_thr', 0))
    settings = {name: value for name, value in arguments.items() if name not in _INDEPENDENT}
    files = (model, weights) if weights else AdaptedFolder.read(Path(model))[:2]
    # The config with its bases and its detector, of which any may change.
    digest = hashlib.sha256(config_text(str(files[0])).encode()).hexdigest()
    settings |= dict(config=files[0], checkpoint=files[1], config_digest=digest)
    archive = _Archive(videos, out, dict(settings, draw=draw, **options), overwrite)
    arguments |= dict(model=model, weights=weights, show_progress=False)
    worker = archive.folder, archive.out, draw, segment, options, arguments
    with closing(archive.lock):
        queue = archive.queue()
        if queue and (workers or address):
            results = _on_ray(worker, queue, workers, address, arguments.get('device'))
        else:
            results = _in_turn(_Worker(*worker), queue)
        with closing(results):
            archive.run(queue, results, progress)
        return archive.summary()


class _Task(NamedTuple):
    """What a worker does at a time.

    Attributes:
        video: Path relative to the folder of the archive.
        first: First frame of a segment.
        last: The frame after its last one; None for a whole video.
        segments: Segments of the video to join.
        undivided: Whether the video is not split.
    """

    video: str
    first: int = 0
    last: int | None = None
    segments: tuple['_Task', ...] = ()
    undivided: bool = False

    @property
    def name(self) -> str:
        """Path of the results, without suffix, relative to the folder of results."""
        return self.video if self.last is None else f'{self.video}.segments/{self.first}'


Results = Iterator[tuple[_Task, dict[str, Any]]]
"""Tasks and their records, in the order in which workers finish them."""


class _Archive:
    """The videos of a folder, the records of their results, and what is left to do."""

    def __init__(
        self, folder: str | Path, out: str | Path, settings: dict[str, Any], overwrite: bool
    ) -> None:
        self.folder, self.out = Path(folder).absolute(), Path(out).absolute()
        self.settings = json.loads(json.dumps(_with_states(settings)))
        self._videos, self._records = find_videos(folder, out), self.out / '.records'
        if self.out.is_dir() and any(self.out.iterdir()) and not self._records.is_dir():
            raise FileError(f'{out}: is a folder with other files; give a new one')
        self.lock = occupy(self._records, 'command', '--out')
        known = _read(file := self._records / '.settings.json') or self.settings
        changed = [name for name in self.settings if self.settings[name] != known.get(name)]
        if changed and not overwrite:
            self.lock.close()
            raise FileError(
                f'{out}: holds results of other settings ({", ".join(changed)}); give another --out, or --overwrite'
            )
        for record in self._records.rglob('*.json') if overwrite else ():
            if changed or (_read(record) or {}).get('error'):
                record.unlink()
        write_json(self.settings, file)

    def queue(self) -> deque[_Task]:
        """Return the tasks for videos without results, the largest first."""
        tasks = [task for task in map(_Task, map(str, self._videos)) if not self._record(task)]
        return deque(sorted(tasks, key=lambda task: _size(self.folder / task.video), reverse=True))

    def run(self, queue: deque[_Task], results: Results, progress: Callable[[str], None]) -> None:
        """Write records, and add to the queue what has to follow: segments of a long video, and their junction."""
        total, done, frames, start = len(queue), 0, 0, time.perf_counter()
        parts: dict[str, tuple[_Task, ...]] = {}
        left: dict[str, set[_Task]] = {}
        for task, found in results:
            video = task.video
            if segments := found.get('segments'):
                parts[video] = segments
                left[video] = {part for part in segments if not self._record(part)}
                queue.extendleft(sorted(left[video], reverse=True))
            else:
                frames += found.get('frames', 0)
                found = self._write(task, found)
                done += task.last is None
                rate = frames / (time.perf_counter() - start)
                result = found['error'] or f'{found["frames"]} frames'
                progress(f'{done}/{total}, {rate:.1f} fps: {_text(task.name)}: {result}')
            if segments or task.last is not None:
                left[video].discard(task)
                if not left[video]:
                    queue.appendleft(self._joined(video, parts[video]))

    def _joined(self, video: str, segments: tuple[_Task, ...]) -> _Task:
        """Return the task that completes a video whose segments are done.

        A damaged one is processed as a whole: frames that are left out move all later key frames.
        """
        records = map(self._record, segments)
        if all(one and not one['error'] and not one['warnings'] for one in records):
            return _Task(video, segments=segments)
        return _Task(video, undivided=True)

    def _write(self, task: _Task, found: dict[str, Any]) -> dict[str, Any]:
        """Write and return the complete record of a task; that of a video has the sums of its segments."""
        records = [found, *map(self._record, task.segments)]
        counts = {
            key: round(sum(record.get(key, 0) for record in records), 3)
            for key in ('frames', 'key_frames', 'seconds')
        }
        found = dict(file=file_state(self.folder / task.video), results=[], warnings=[]) | found
        write_json(found := dict(error=None) | found | counts, self._file(task))
        if task.last is None:
            for folder in (self.out, self._records):
                shutil.rmtree(folder / f'{task.video}.segments', ignore_errors=True)
        return found

    def summary(self) -> dict[str, Any]:
        """Count videos and frames, list what failed or is damaged, and write it to ``summary.json``."""
        changed = dict(error='changed while it was processed', warnings=[])
        tasks = map(_Task, map(str, self._videos))
        records = {_text(task.video): self._record(task) or changed for task in tasks}
        counts = {
            key: sum(record.get(key, 0) for record in records.values())
            for key in ('frames', 'key_frames', 'seconds')
        }
        content = dict(
            videos=len(records),
            done=sum(not record['error'] for record in records.values()),
            **counts,
            failed={name: record['error'] for name, record in records.items() if record['error']},
            damaged={n: record['warnings'] for n, record in records.items() if record['warnings']},
            settings=self.settings,
        )
        write_json(content, self.out / 'summary.json', indent=1)
        return content

    def _file(self, task: _Task) -> Path:
        return self._records / f'{_text(task.name)}.json'

    def _record(self, task: _Task) -> dict[str, Any] | None:
        """Return the record of a task, None if its video has changed since or its results are gone."""
        record = _read(self._file(task))
        if not record or record['file'] != file_state(self.folder / task.video):
            return None
        return record if all((self.out / name).exists() for name in record['results']) else None


class _Worker:
    """Detects in videos and segments, and joins segments, with a detector that is loaded when it is first used."""

    def __init__(
        self,
        folder: Path,
        out: Path,
        draw: bool,
        segment: int,
        options: dict[str, Any],
        arguments: dict[str, Any],
    ) -> None:
        self._folder, self._out, self._draw, self._segment = folder, out, draw, segment
        self._options, self._arguments = options, arguments

    @cached_property
    def _inferencer(self) -> VideoInferencer:
        return VideoInferencer(**self._arguments)

    def start(self) -> None:
        """Load the detector in a process of its own, as the tools do."""
        keep_freed_memory(self._arguments.get('device') or get_device())
        with trusted(self._arguments.get('trust', False)), safe_loading():
            self._inferencer  # noqa: B018

    def run(self, task: _Task) -> dict[str, Any]:
        """Do a task; return its record, or the segments of a long video."""
        path, place = self._folder / task.video, self._out / task.name
        names = dict(out_json='json', out_labels='labels', out_video='boxes.mp4')
        outputs = {key: Path(f'{place}.{suffix}') for key, suffix in names.items()}
        _remove(outputs.values())  # results of other settings
        segments = self._inferencer.engine.model.spatial.prediction == 'pred_sem_seg'
        del outputs['out_json' if segments else 'out_labels']
        if not self._draw:
            del outputs['out_video']
        before, start = file_state(path), time.perf_counter()  # a file that grows is not complete
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', VideoWarning)
            try:
                found = (self._join if task.segments else self._detect)(task, path, outputs)
            except (VideoError, ValueError, cv2.error) as reason:
                error = _text(reason).replace(f'{path}: ', '') or type(reason).__name__
                found = dict(error=error, results=[])
                _remove(outputs.values())
        messages = [_text(w.message) for w in caught if issubclass(w.category, VideoWarning)]
        results = [str(file.relative_to(self._out)) for file in outputs.values()]
        seconds = round(time.perf_counter() - start, 3)
        return dict(file=before, results=results, warnings=messages, seconds=seconds) | found

    def _detect(self, task: _Task, path: Path, outputs: dict[str, Path]) -> dict[str, Any]:
        options = self._options
        settings = options.get('fps'), options.get('strict', False)
        threads = self._arguments.get('decoder_threads', 1)
        with closing(open_any(path, *settings, threads)) as stream:
            if task.last is not None:
                stream = VideoSegment(stream, task.first, task.last)
            elif not task.undivided and (segments := self._segments(task.video, stream)):
                return dict(segments=segments)
            frames = keys = 0
            for sample in self._inferencer(stream, **outputs, **options):
                frames, keys = frames + 1, keys + bool(sample.is_key_frame)
        return dict(frames=frames, key_frames=keys)

    def _segments(self, video: str, stream: FrameStream) -> tuple[_Task, ...]:
        """Return the segments of a long video, which begin at key frames; none if it is short or not to be split."""
        engine = self._inferencer.engine
        schedule = engine.schedule
        if not (
            isinstance(stream, VideoFile)  # folders: frames of another size begin an interval
            and isinstance(schedule, FixedSchedule)
            and schedule.first == schedule.interval
            and not (engine.method.needs_next or engine.method.sequential)
            and not (engine.smooth_scores or engine.smooth_boxes)
            and not self._options.get('max_frames')
            and not stream.damage
        ):
            return ()
        step = math.ceil(self._segment / schedule.interval) * schedule.interval
        bounds = [*range(0, len(stream), step), len(stream)]
        segments = tuple(_Task(video, first, last) for first, last in pairwise(bounds))
        return segments if len(segments) > 1 else ()

    def _join(self, task: _Task, path: Path, outputs: dict[str, Path]) -> dict[str, Any]:
        places = [self._out / segment.name for segment in task.segments]
        if file := outputs.get('out_json'):
            with DetectionsOutput((), file) as output:
                for place in places:
                    output.extend(json.loads(Path(f'{place}.json').read_bytes()))
        if folder := outputs.get('out_labels'):
            for place in places:
                shutil.copytree(f'{place}.labels', folder, dirs_exist_ok=True)
        if video := outputs.get('out_video'):
            join_videos([Path(f'{place}.boxes.mp4') for place in places], video)
        return {}


def _in_turn(worker: _Worker, queue: deque[_Task]) -> Results:
    while queue:
        task = queue.popleft()
        yield task, worker.run(task)


def _on_ray(
    arguments: tuple,
    queue: deque[_Task],
    workers: int | None,
    address: str | None,
    device: str | None,
) -> Results:
    """Hand out tasks to actors on Ray; those of a lost actor, or of a lost node, go to another one."""
    try:
        import ray
        from ray.exceptions import RayError, RayTaskError
    except ImportError:
        raise ImportError(
            'several workers need the extra semidff[ray]; install it with: pip install ray'
        ) from None
    cores = None if address else max(os.cpu_count(), workers)
    ray.init(address or 'local', num_cpus=cores, logging_level='warning', log_to_driver=False)
    total = ray.cluster_resources()
    gpus = 0 if device == 'cpu' else total.get('GPU', 0)
    workers = workers or max(int(gpus or total.get('CPU', 0) // 4), 1)
    share = dict(num_cpus=max(total.get('CPU', 0) // workers, 1), num_gpus=min(gpus / workers, 1))
    actor_class = ray.remote(_Worker).options(**share)
    running: dict[Any, tuple[Any, _Task | None]] = {}  # what an actor computes: the actor, its task
    idle: list[Any] = []
    lost: Counter[_Task | None] = Counter()

    def begin() -> None:
        actor = actor_class.remote(*arguments)
        running[actor.start.remote()] = actor, None

    try:
        for _ in range(workers):
            begin()
        while queue or any(task for _, task in running.values()):
            while queue and idle:
                actor, task = idle.pop(), queue.popleft()
                name = f'semidff {_text(task.name)}'
                running[actor.run.options(name=name).remote(task)] = actor, task
            (done,), _ = ray.wait(list(running), num_returns=1)
            actor, task = running.pop(done)
            try:
                found = ray.get(done)
                idle.append(actor)
            except RayTaskError as error:
                raise error.cause from error
            except RayError as error:
                begin()
                lost[task] += 1
                found = dict(error=f'its worker ended {_TRIES} times')
                if task is None and lost[None] > _TRIES * workers:
                    raise RuntimeError(
                        f'workers end while they load the detector: {error}'
                    ) from None
                if task and lost[task] < _TRIES:
                    queue.append(task)
                    continue
            if task:
                yield task, found
    finally:
        ray.shutdown()


def _with_states(settings: Any) -> Any:
    """Return settings as JSON can hold them; files with size and time of change."""
    if isinstance(settings, dict):
        return {key: _with_states(value) for key, value in settings.items()}
    if isinstance(settings, str | Path) and Path(settings).is_file():
        return [str(settings), *file_state(settings)]
    return settings


def _size(video: Path) -> int:
    """Return the bytes of a file, or of the files of a folder; 0 if there is none."""
    files = video.iterdir() if video.is_dir() else [video]
    return sum(sum(file_state(file)[:1]) for file in files)


def _read(file: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError, ValueError):
        return json.loads(file.read_bytes())
    return None


def _remove(results: Iterable[Path]) -> None:
    for result in results:
        if result.is_dir():
            shutil.rmtree(result)
        else:
            result.unlink(missing_ok=True)


def _text(value: object) -> str:
    """Return a value as text that can be written; bytes of names that are not UTF-8 become escape sequences."""
    return str(value).encode(errors='backslashreplace').decode()
