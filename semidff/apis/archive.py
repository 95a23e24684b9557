"""Detection in all videos of a folder: in one process, or by workers on Ray, on one machine or on many.

What became of a video is written to its record when its results are complete. Only the process that hands out the
videos writes records.
"""

import hashlib
import json
import os
import shutil
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.device import get_device

from semidff.checkpoints.detectors import config_text
from semidff.checkpoints.safe import safe_loading, trusted
from semidff.datasets.video_folders import find_videos
from semidff.datasets.video_readers import VideoWarning
from semidff.inference.outputs import check_limits
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.error_messages import FileError
from semidff.utils.files import file_state, without_secrets
from semidff.utils.run_folder import occupy

from .failures import is_of_video
from .video_inferencer import AdaptedFolder, VideoInferencer

_TRIES = 3  # of a video that ends its worker
# Settings that results do not depend on.
_INDEPENDENT = {'device', 'read_ahead', 'decoder_threads', 'compile', 'graphs', 'trust', 'workers'}


def detect_archive(
    videos: str | Path,
    out: str | Path,
    model: str | Path | None,
    weights: str | Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    draw: bool = True,
    overwrite: bool = False,
    *,
    progress: Callable[[str], None] = print,
    call: dict[str, Any] | None = None,
    inferencer: dict[str, Any] | None = None,
    **further: Any,
) -> dict[str, Any]:
    """Detect in all videos of a folder that have no results yet.

    ``street.mp4`` has the results ``street.mp4.json``, detections as COCO-VID json, and ``street.mp4.boxes.mp4``,
    in the same sub-folder of ``out``. A segmentation network writes label maps to the folder ``street.mp4.labels`` in
    place of the json.

    A video that cannot be read is recorded with the reason and is not tried again until its file changes; files have
    the results so far. So is one that ends its worker three times. Errors that are not of a video, such as a full disk
    or those of a GPU, end the run.

    Args:
        videos: Folder of videos.
        out: Folder of the results: a new or empty one, or that of an earlier run.
        model: Config file, name of a detector, folder of ``tools/adapt.py``, or None: as of :class:`VideoInferencer`.
        weights: Checkpoint; not needed with such a folder.
        workers: Number of processes, which Ray starts and replaces when they are lost. Default: one for each GPU of the
            cluster, or for each 4 cores; without ``address`` no Ray and this process alone.
        address: Address of a Ray cluster, ``auto`` for that of this machine.
        overwrite: Whether results of other settings are replaced and failed videos tried again.
        progress: Called with a line of text for each video.
        call: Arguments of the inferencer's call, without outputs.
        inferencer, **further: Further arguments of :class:`VideoInferencer`.

    Returns:
        The summary, which is in ``summary.json``, too: numbers of videos, frames and key frames, seconds of all
        workers, failed and damaged videos with the reasons, settings.
    """
    call, arguments = call or {}, (inferencer or {}) | further
    check_limits(call.get('fps'), call.get('max_frames'), call.get('pred_score_thr', 0))
    settings = {name: value for name, value in arguments.items() if name not in _INDEPENDENT}
    files = model, weights
    if model is not None and Path(model).is_dir():
        folder = AdaptedFolder.read(Path(model))
        files = folder.config, weights or folder.weights
    # The config with its bases and its detector, of which any may change.
    text = '' if model is None else config_text(str(files[0]))
    digest = hashlib.sha256(text.encode()).hexdigest()
    checkpoint = files[1] and without_secrets(files[1])
    settings |= dict(config=files[0], checkpoint=checkpoint, config_digest=digest)
    archive = _Archive(videos, out, dict(settings, draw=draw, **call), overwrite)
    arguments |= dict(model=model, weights=weights, show_progress=False, cache=archive.graphs)
    given = archive.folder, archive.out, draw, call, arguments
    with closing(archive.lock):
        queue = archive.queue()
        if queue and (workers or address):
            results = _on_ray(given, queue, workers, address, arguments.get('device'))
        else:
            worker = _Worker(*given)
            results = ((video, worker.run(video)) for video in queue)
        with closing(results):
            archive.write(results, len(queue), progress)
        return archive.summary()


Results = Iterator[tuple[str, dict[str, Any]]]
"""Videos, by their paths in the archive, and their records, in the order in which workers finish them."""


class _Archive:
    """The videos of a folder, the records of their results, and what is left to do."""

    def __init__(
        self, folder: str | Path, out: str | Path, settings: dict[str, Any], overwrite: bool
    ) -> None:
        self.folder, self.out = Path(folder).absolute(), Path(out).absolute()
        self.settings = json.loads(json.dumps(_with_states(settings)))
        self._videos, self._records = [*map(str, find_videos(folder, out))], self.out / '.records'
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
        self.graphs = self._records / '.graphs'

    def queue(self) -> deque[str]:
        """Return the videos without results, the largest first."""
        left = [video for video in self._videos if not self._record(video)]
        return deque(sorted(left, key=lambda video: _size(self.folder / video), reverse=True))

    def write(self, results: Results, total: int, progress: Callable[[str], None]) -> None:
        """Write the records of so many videos."""
        frames, start = 0, time.perf_counter()
        for done, (video, found) in enumerate(results, 1):
            default = dict(
                error=None, file=file_state(self.folder / video), results=[], warnings=[]
            )
            record = dict(default, frames=0, key_frames=0, seconds=0.0) | found
            write_json(record, self._file(video))
            frames += record['frames']
            rate = frames / (time.perf_counter() - start)
            result = record['error'] or f'{record["frames"]} frames'
            progress(f'{done}/{total}, {rate:.1f} fps: {_text(video)}: {result}')

    def summary(self) -> dict[str, Any]:
        """Count videos and frames, list what failed or is damaged, and write it to ``summary.json``."""
        changed = dict(error='changed while it was processed', warnings=[])
        records = {_text(video): self._record(video) or changed for video in self._videos}
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

    def _file(self, video: str) -> Path:
        return self._records / f'{_text(video)}.json'

    def _record(self, video: str) -> dict[str, Any] | None:
        """Return the record of a video, None if it has changed since or its results are gone."""
        record = _read(self._file(video))
        if not record or record['file'] != file_state(self.folder / video):
            return None
        return record if all((self.out / name).exists() for name in record['results']) else None


class _Worker:
    """Detects in videos, with a detector that is loaded when it is first used."""

    def __init__(
        self, folder: Path, out: Path, draw: bool, call: dict[str, Any], arguments: dict[str, Any]
    ) -> None:
        self._folder, self._out, self._draw = folder, out, draw
        self._call, self._arguments = call, arguments

    @cached_property
    def _inferencer(self) -> VideoInferencer:
        return VideoInferencer(**self._arguments)

    def start(self) -> None:
        """Load the detector in a process of its own, as the tools do."""
        keep_freed_memory(self._arguments.get('device') or get_device())
        with trusted(self._arguments.get('trust', False)), safe_loading():
            self._inferencer  # noqa: B018

    def run(self, video: str) -> dict[str, Any]:
        """Detect in a video and return its record."""
        path = self._folder / video
        names = dict(out_json='json', out_labels='labels', out_video='boxes.mp4')
        outputs = {key: self._out / f'{video}.{suffix}' for key, suffix in names.items()}
        _remove(outputs.values())  # results of other settings
        segments = self._inferencer.model.spatial.prediction == 'pred_sem_seg'
        del outputs['out_json' if segments else 'out_labels']
        if not self._draw:
            del outputs['out_video']
        if 'only_classes' in self._call:  # an unknown class is no failure of a video
            self._inferencer.limiter(self._call['only_classes'])
        before, start = file_state(path), time.perf_counter()  # a file that grows is not complete
        found = dict(frames=0, key_frames=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', VideoWarning)
            try:
                for sample in self._inferencer(path, **outputs, **self._call):
                    found['frames'] += 1
                    found['key_frames'] += bool(sample.is_key_frame)
            except Exception as reason:
                if not is_of_video(reason, self._inferencer.model):
                    raise
                error = _text(reason).replace(f'{path}: ', '') or type(reason).__name__
                found = dict(error=error)
        messages = [_text(w.message) for w in caught if issubclass(w.category, VideoWarning)]
        files = [file for file in outputs.values() if not found.get('error') or file.exists()]
        results = [str(file.relative_to(self._out)) for file in files]
        seconds = round(time.perf_counter() - start, 3)
        return dict(found, file=before, results=results, warnings=messages, seconds=seconds)


def _on_ray(
    arguments: tuple,
    queue: deque[str],
    workers: int | None,
    address: str | None,
    device: str | None,
) -> Results:
    """Hand out videos to actors on Ray; that of a lost actor, or of a lost node, goes to another one."""
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
    running: dict[Any, tuple[Any, str | None]] = {}  # what an actor computes: the actor, its video
    idle: list[Any] = []
    lost: Counter[str | None] = Counter()

    def begin() -> None:
        actor = actor_class.remote(*arguments)
        running[actor.start.remote()] = actor, None

    try:
        for _ in range(workers):
            begin()
        while queue or any(video for _, video in running.values()):
            while queue and idle:
                actor, video = idle.pop(), queue.popleft()
                name = f'semidff {_text(video)}'
                running[actor.run.options(name=name).remote(video)] = actor, video
            (done,), _ = ray.wait(list(running), num_returns=1)
            actor, video = running.pop(done)
            try:
                found = ray.get(done)
                idle.append(actor)
            except RayTaskError as error:
                raise error.cause from error
            except RayError as error:
                begin()
                lost[video] += 1
                found = dict(error=f'its worker ended {_TRIES} times')
                if video is None and lost[None] > _TRIES * workers:
                    raise RuntimeError(
                        f'workers end while they load the detector: {error}'
                    ) from None
                if video and lost[video] < _TRIES:
                    queue.append(video)
                    continue
            if video:
                yield video, found
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
        return read_json(file)
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
