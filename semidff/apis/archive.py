"""Detection in all videos of a folder, by any number of processes that may be killed at any time.

What became of a video is written to its record when its results are complete. A process works on a video while it holds
the lock of the record; a video without one is free for the next process, of this run or of a later one.
"""

import json
import shutil
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
from filelock import FileLock, Timeout

from semidff.datasets.video_folders import find_videos
from semidff.datasets.video_readers import VideoError, VideoWarning
from semidff.datasets.video_readers.sources import check_limits
from semidff.utils.atomic_write import write_json
from semidff.utils.error_messages import FileError
from semidff.utils.files import file_state

from .video_inferencer import VideoInferencer


class Archive:
    """Videos of a folder and the results of each.

    ``street.mp4`` has the results ``street.mp4.json``, detections as COCO-VID json, and ``street.mp4.boxes.mp4``,
    in the same sub-folder of ``out``. A segmentation network writes label maps to the folder ``street.mp4.labels`` in
    place of the json.

    Args:
        folder: Folder of videos.
        out: Folder of the results: a new or empty one, or that of an earlier run.
        settings: What the results depend on, such as config, checkpoint and method. Files count with their size and
            time of change.
        draw: Whether to write annotated videos.
        overwrite: Whether results of other settings are replaced and failed videos tried again.
    """

    def __init__(
        self,
        folder: str | Path,
        out: str | Path,
        settings: dict[str, Any],
        draw: bool = True,
        overwrite: bool = True,
    ) -> None:
        self.folder, self.out, self.draw = Path(folder), Path(out), draw
        files = {k: [v, *file_state(v)] for k, v in settings.items() if Path(str(v)).is_file()}
        self.settings = json.loads(json.dumps(dict(settings, **files, draw=draw)))
        self.videos, self._records = find_videos(folder, self.out), self.out / '.records'
        if self.out.is_dir() and any(self.out.iterdir()) and not self._records.is_dir():
            raise FileError(f'{out}: is a folder with other files; give a new one')
        self._records.mkdir(parents=True, exist_ok=True)
        with FileLock(self._records / '.settings.lock'):
            known = _read(file := self._records / '.settings.json') or self.settings
            changed = [name for name in self.settings if self.settings[name] != known.get(name)]
            if changed and not overwrite:
                raise FileError(
                    f'{out}: holds results of other settings ({", ".join(changed)}); give another --out, or --overwrite'
                )
            for record in self._records.rglob('*.json') if overwrite else ():
                if changed or (_read(record) or {}).get('error'):
                    record.unlink()
            write_json(self.settings, file)

    def run(
        self,
        inferencer: VideoInferencer,
        progress: Callable[[str], None] = lambda text: None,
        **options: Any,
    ) -> dict[str, Any]:
        """Detect in all videos that have no results yet, until every video has some, also from other processes.

        A video that cannot be read is recorded with the reason and is not tried again until its file changes. Other
        errors, such as a full disk or those of a GPU, end the run.

        Args:
            inferencer: The detector.
            progress: Called with a line of text for each video.
            **options: Arguments of the inferencer's call.

        Returns:
            The summary, which is in ``summary.json``, too.
        """
        check_limits(
            options.get('fps'), options.get('max_frames'), options.get('pred_score_thr', 0)
        )
        # the others' videos last, when they are complete or abandoned
        for seconds in (0, -1):
            for video in [video for video in self.videos if not self._record(video)]:
                record = self._file(video)
                record.parent.mkdir(parents=True, exist_ok=True)
                with suppress(Timeout), FileLock(record.with_suffix('.lock'), timeout=seconds):
                    if not self._record(video):
                        found = self._detect(inferencer, video, options)
                        write_json(found, record)
                        result = found['error'] or f'{found["frames"]} frames'
                        progress(f'{_text(video)}: {result}')
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Count videos and frames, list what failed or is damaged, and write it to ``summary.json``."""
        changed = dict(error='changed while it was processed', warnings=[])
        records = {_text(video): self._record(video) or changed for video in self.videos}
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

    def _detect(self, inferencer: VideoInferencer, video: Path, options: dict) -> dict[str, Any]:
        """Detect in one video and return its record."""
        path, place = str(self.folder / video), self.out / video
        detections, labels, boxes = (
            place.with_name(f'{video.name}.{kind}') for kind in ('json', 'labels', 'boxes.mp4')
        )
        segments = inferencer.engine.model.spatial.prediction == 'pred_sem_seg'
        outputs = dict(out_labels=labels) if segments else dict(out_json=detections)
        outputs |= dict(out_video=boxes) if self.draw else {}
        frames, keys, error, start = 0, 0, None, time.perf_counter()
        before = file_state(path)  # a file that grows meanwhile is not complete
        _remove(detections, labels, boxes)  # results of other settings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', VideoWarning)
            try:
                for sample in inferencer(path, **outputs, **options):
                    frames, keys = frames + 1, keys + bool(sample.is_key_frame)
            except (VideoError, ValueError, cv2.error) as reason:
                error = _text(reason).replace(f'{path}: ', '') or type(reason).__name__
                frames = keys = 0
                _remove(*outputs.values())
        return dict(
            file=before,
            results=[] if error else [str(one.relative_to(self.out)) for one in outputs.values()],
            error=error,
            frames=frames,
            key_frames=keys,
            warnings=[_text(w.message) for w in caught if issubclass(w.category, VideoWarning)],
            seconds=round(time.perf_counter() - start, 3),
        )

    def _file(self, video: Path) -> Path:
        return self._records / f'{_text(video)}.json'

    def _record(self, video: Path) -> dict[str, Any] | None:
        """Return the record of a video, None if it has changed since or its results are gone."""
        record = _read(self._file(video))
        if not record or record['file'] != file_state(self.folder / video):
            return None
        return record if all((self.out / name).exists() for name in record['results']) else None


def _read(file: Path) -> dict[str, Any] | None:
    with suppress(FileNotFoundError, ValueError):
        return json.loads(file.read_bytes())
    return None


def _remove(*results: Path) -> None:
    for result in results:
        if result.is_dir():
            shutil.rmtree(result)
        else:
            result.unlink(missing_ok=True)


def _text(value: object) -> str:
    """Return a value as text that can be written; bytes of names that are not UTF-8 become escape sequences."""
    return str(value).encode(errors='backslashreplace').decode()
