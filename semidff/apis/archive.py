"""Detection in all videos of a folder, in one process or by workers on Ray.

Each finished video has a record with its status and outputs; a video with a record is done. Only
the process that hands out the videos writes records.
"""

import hashlib
import json
import os
import shutil
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.device import get_device

from semidff.adaptation.folder import AdaptedFolder
from semidff.checkpoints.detectors import config_text
from semidff.checkpoints.safe import safe_loading, trusted
from semidff.datasets.video_folders import find_videos
from semidff.datasets.video_readers import VideoWarning
from semidff.inference.executors import default_runtime
from semidff.inference.outputs import check_limits
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.error_messages import FileError
from semidff.utils.files import file_state, without_secrets
from semidff.utils.run_folder import occupy

from .failures import is_of_video
from .video_inferencer import VideoInferencer

_TRIES = 3  # of a video that ends its worker
# Settings that results do not depend on.
_INDEPENDENT = {'device', 'read_ahead', 'decoder_threads', 'compile', 'graphs', 'trust'}
# Settings that the default runtime depends on.
_OF_RUNTIME = {'device', 'compile', 'graphs'}


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
    **inferencer: Any,
) -> dict[str, Any]:
    """Detect in all videos of a folder that have no results yet.

    ``street.mp4`` has the results ``street.mp4.json``, detections as COCO-VID json, and
    ``street.mp4.boxes.mp4``, in the same sub-folder of ``out``. A segmentation network writes label
    maps to the folder ``street.mp4.labels`` in place of the json.

    A video that cannot be read is recorded with the reason and skipped until its file changes; its
    outputs have the results so far. The same holds for a video that ends its worker three times.
    Errors of the machine, such as a full disk or errors of a GPU, end the run.

    Args:
        videos: Folder of videos.
        out: Folder of the results: new, empty, or of an earlier run.
        model: Config file, name of a detector, folder of ``tools/adapt.py``, or None: as of
            :class:`VideoInferencer`.
        weights: Checkpoint; not needed with such a folder.
        workers: Number of processes, which Ray starts and replaces when they are lost. Default: one
            for each GPU of the cluster, or for each 4 cores; without ``address`` no Ray and this
            process alone.
        address: Address of a Ray cluster, ``auto`` for that of this machine.
        overwrite: Whether results of other settings are replaced and failed videos tried again.
        progress: Called with a line of text for each video.
        call: Arguments of the inferencer's call, without outputs.
        inferencer: Further arguments of :class:`VideoInferencer`.

    Returns:
        The summary, which is in ``summary.json``, too: numbers of videos, frames and key frames,
        seconds of all workers, failed and damaged videos with the reasons, settings.
    """
    call = call or {}
    check_limits(call.get('fps'), call.get('max_frames'), call.get('pred_score_thr', 0))
    names, folder, out = find_videos(videos, out), Path(videos).absolute(), Path(out).absolute()
    records = out / '.records'
    if out.is_dir() and any(out.iterdir()) and not records.is_dir():
        raise FileError(f'{out}: is a folder with other files; give a new one')
    settings = dict(_settings(model, weights, inferencer), draw=draw, **call)
    settings = json.loads(json.dumps(settings, default=str))
    arguments = dict(inferencer, model=model, weights=weights, show_progress=False)
    # With a default runtime, first frames run in PyTorch: results would depend on the workers.
    arguments |= dict(cache=records / '.graphs', runtime=settings['runtime'])

    def record_of(video: str) -> dict[str, Any] | None:
        """Return the record of a video; None if the video or its results have changed."""
        known = _read(records / f'{video}.json')
        if known is None or known['file'] != file_state(folder / video):
            return None
        return known if all((out / name).exists() for name in known['results']) else None

    with closing(occupy(records, 'command', '--out')):
        _accept(settings, records, overwrite)
        left = [video for video in map(str, names) if not record_of(video)]
        left.sort(key=lambda video: file_state(folder / video)[:1], reverse=True)
        worker = _Worker(folder, out, draw, call, arguments)
        if left and (workers or address):
            results = _on_ray(worker, deque(left), workers, address)
        else:
            results = ((video, worker.run(video)) for video in left)
        frames, start = 0, time.perf_counter()
        with closing(results):
            for done, (video, record) in enumerate(results, 1):
                write_json(record, records / f'{video}.json')
                frames += record['frames']
                rate = frames / (time.perf_counter() - start)
                line = f'{done}/{len(left)}, {rate:.1f} fps: {video}: '
                line += record['error'] or f'{record["frames"]} frames'
                progress(line.encode(errors='backslashreplace').decode())  # names may not be UTF-8
        changed = dict(_record(folder), error='changed while it was processed')
        found = {video: record_of(video) or changed for video in map(str, names)}
        counts = {
            key: sum(record[key] for record in found.values())
            for key in ('frames', 'key_frames', 'seconds')
        }
        summary = dict(
            videos=len(found),
            done=sum(not record['error'] for record in found.values()),
            **counts,
            failed={name: record['error'] for name, record in found.items() if record['error']},
            damaged={name: rec['warnings'] for name, rec in found.items() if rec['warnings']},
            settings=settings,
        )
        write_json(summary, out / 'summary.json', indent=1)
        return summary


def _settings(
    model: str | Path | None, weights: str | Path | None, inferencer: dict[str, Any]
) -> dict[str, Any]:
    """Return all that results depend on: options, text of the config, state of files."""
    point = inferencer.get('point')
    if model is not None and Path(model).is_dir():
        folder = AdaptedFolder.read(model, point, method=inferencer.get('method'))
        model, weights, point = folder.config, weights or folder.weights, folder.point
    options = {name: inferencer[name] for name in _OF_RUNTIME & inferencer.keys()}
    default = point.runtime if point else default_runtime(**options)
    # The config with its bases and its detector, of which any may change.
    text = '' if model is None else config_text(str(model))
    settings = {name: value for name, value in inferencer.items() if name not in _INDEPENDENT}
    digest = hashlib.sha256(text.encode()).hexdigest()
    settings |= dict(
        config=model,
        config_digest=digest,
        checkpoint=weights and without_secrets(weights),
        runtime=inferencer.get('runtime') or default,
    )
    for name, value in settings.items():
        if isinstance(value, str | Path):
            settings[name] = [str(value), *file_state(value)] if Path(value).is_file() else value
    return settings


def _accept(settings: dict[str, Any], records: Path, overwrite: bool) -> None:
    """Store the settings; ``overwrite`` removes results of other settings, and failures."""
    known = _read(records / '.settings.json') or settings
    changed = [name for name in settings if settings[name] != known.get(name)]
    if changed and not overwrite:
        raise FileError(
            f'{records.parent}: holds results of other settings ({", ".join(changed)}); give '
            'another --out, or --overwrite'
        )
    for record in records.rglob('*.json') if overwrite else ():
        if changed or _read(record).get('error'):
            record.unlink()
    write_json(settings, records / '.settings.json')


def _read(file: Path) -> dict[str, Any] | None:
    return read_json(file) if file.is_file() else None


@dataclass
class _Worker:
    """Detects in videos, with a detector that is loaded when it is first used."""

    folder: Path
    out: Path
    draw: bool
    call: dict[str, Any]
    arguments: dict[str, Any]

    @cached_property
    def _inferencer(self) -> VideoInferencer:
        return VideoInferencer(**self.arguments)

    def work(self, video: str | None) -> dict[str, Any] | None:
        """Load the detector in a process of this worker, as the tools do; detect in a video."""
        keep_freed_memory(self.arguments.get('device') or get_device())
        with trusted(self.arguments.get('trust', False)), safe_loading():
            self._inferencer  # noqa: B018
        return video and self.run(video)

    def run(self, video: str) -> dict[str, Any]:
        """Detect in a video and return its record."""
        path, inferencer = self.folder / video, self._inferencer
        if 'only_classes' in self.call:  # an unknown class is no failure of the video
            inferencer.limiter(self.call['only_classes'])
        names = dict(out_json='json', out_labels='labels', out_video='boxes.mp4')
        outputs = {name: self.out / f'{video}.{suffix}' for name, suffix in names.items()}
        for file in outputs.values():  # results of other settings
            if file.is_dir():
                shutil.rmtree(file)
            file.unlink(missing_ok=True)
        segments = inferencer.model.spatial.prediction == 'pred_sem_seg'
        del outputs['out_json' if segments else 'out_labels']
        if not self.draw:
            del outputs['out_video']
        record = _record(path)  # of a file that grows meanwhile, results are not complete
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', VideoWarning)
            try:
                for sample in inferencer(path, **outputs, **self.call):
                    record['frames'] += 1
                    record['key_frames'] += bool(sample.is_key_frame)
            except Exception as error:
                if not is_of_video(error, inferencer.model):
                    raise
                reason = str(error).replace(f'{path}: ', '') or type(error).__name__
                record.update(error=reason, frames=0, key_frames=0)
        record['seconds'] = round(time.perf_counter() - start, 3)
        messages = [w.message for w in caught if issubclass(w.category, VideoWarning)]
        record['warnings'] = list(map(str, messages))
        files = [file for file in outputs.values() if file.exists()]
        record['results'] = [str(file.relative_to(self.out)) for file in files]
        return record


def _record(path: Path, error: str | None = None) -> dict[str, Any]:
    numbers = dict(frames=0, key_frames=0, seconds=0.0)
    return dict(error=error, file=file_state(path), results=[], warnings=[], **numbers)


def _on_ray(
    worker: _Worker, queue: deque[str], workers: int | None, address: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield videos with their records in the order in which actors on Ray finish them."""
    try:
        import ray
        from ray.exceptions import RayActorError, RayTaskError
    except ImportError:
        raise ImportError(
            'several workers need the extra semidff[ray]; install it with: pip install ray'
        ) from None
    cores = None if address else max(os.cpu_count(), workers)
    ray.init(address or 'local', num_cpus=cores, logging_level='warning', log_to_driver=False)
    total = ray.cluster_resources()
    gpus = 0 if worker.arguments.get('device') == 'cpu' else total.get('GPU', 0)
    workers = workers or max(int(gpus or total.get('CPU', 0) // 4), 1)
    share = dict(num_cpus=max(total.get('CPU', 0) // workers, 1), num_gpus=min(gpus / workers, 1))
    actor_class = ray.remote(_Worker).options(**share)
    running: dict[Any, tuple[Any, str | None]] = {}  # what an actor computes: the actor, its video
    idle: list[Any] = []
    lost: Counter[str | None] = Counter()

    def begin() -> None:
        actor = actor_class.remote(**vars(worker))
        running[actor.work.remote(None)] = actor, None

    try:
        for _ in range(workers):
            begin()
        while queue or any(video for _, video in running.values()):
            while queue and idle:
                actor, video = idle.pop(), queue.popleft()
                running[actor.work.remote(video)] = actor, video
            (done,), _ = ray.wait(list(running))
            actor, video = running.pop(done)
            try:
                record = ray.get(done)
                idle.append(actor)
            except RayTaskError as error:
                raise error.cause from error
            except RayActorError:
                begin()  # on a node that is left
                lost[video] += 1
                if video is None and lost[None] > _TRIES * workers:  # while it loads the detector
                    raise
                if video and lost[video] < _TRIES:
                    queue.append(video)
                    continue
                record = video and _record(
                    worker.folder / video, f'its worker ended {_TRIES} times'
                )
            if video:
                yield video, record
    finally:
        ray.shutdown()
