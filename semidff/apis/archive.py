"""Detection in all videos of a folder, by any number of processes that may be killed at any time.

A process works on a video while it holds the lock of its record. The record is written when the results are complete; a
video without one is free for the next process, of this run or of a later one.
"""

import json
import os
import shutil
import time
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
from filelock import FileLock, Timeout

from semidff.datasets.video_folders import find_videos
from semidff.datasets.video_readers import VideoError, VideoWarning
from semidff.datasets.video_readers.sources import check_limits
from semidff.utils.atomic_write import atomic_write, write_json
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
        files = {k: [v, *file_state(v)] for k, v in settings.items() if os.path.isfile(str(v))}
        self.settings = json.loads(json.dumps(dict(settings, **files, draw=draw)))
        self.videos, self._records = find_videos(folder, self.out), self.out / '.records'
        if self.out.is_dir() and any(self.out.iterdir()) and not self._records.is_dir():
            raise FileError(f'{out}: is a folder with other files; give a new one')
        self._records.mkdir(parents=True, exist_ok=True)
        for video, record in [(video, self._record(video)) for video in self.videos]:
            if overwrite and record and record['error']:
                self._file(video).unlink(missing_ok=True)
            elif not overwrite and record and record['settings'] != self.settings:
                other = record['settings']
                changed = [k for k in self.settings if self.settings[k] != other.get(k)]
                raise FileError(
                    f'{out}: holds results of other settings ({", ".join(changed)}; {record["video"]}); give another '
                    '--out, or --overwrite'
                )

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
            The summary, which is in ``summary.json`` and ``summary.txt``, too.
        """
        check_limits(
            options.get('fps'), options.get('max_frames'), options.get('pred_score_thr', 0)
        )
        # the others' videos last, when they are complete or abandoned
        for seconds in (0, -1):
            for video in [video for video in self.videos if not self._finished(video)]:
                file = self._file(video)
                try:
                    with FileLock(file.with_suffix('.lock'), timeout=seconds):
                        if not self._finished(video):
                            record = self._detect(inferencer, video, options)
                            write_json(record, file, indent=1)
                            result = record['error'] or f'{record["frames"]} frames'
                            progress(f'{record["video"]}: {result}')
                except Timeout:
                    continue
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Count videos and frames and list what failed; write both to the output folder."""
        changed = dict(error='changed while it was processed', warnings=[])
        records = {_text(video): self._finished(video) or changed for video in self.videos}
        content = dict(
            videos=len(records),
            done=sum(not record['error'] for record in records.values()),
            **{
                key: sum(record.get(key, 0) for record in records.values())
                for key in ('frames', 'key_frames', 'seconds')
            },
            failed={name: record['error'] for name, record in records.items() if record['error']},
            damaged={n: record['warnings'] for n, record in records.items() if record['warnings']},
            settings=self.settings,
        )
        write_json(content, self.out / 'summary.json', indent=1)
        with atomic_write(self.out / 'summary.txt') as file:
            file.write(summary_text(content) + '\n')
        return content

    def _detect(self, inferencer: VideoInferencer, video: Path, options: dict) -> dict[str, Any]:
        """Detect in one video and return its record."""
        path, (detections, labels, boxes) = str(self.folder / video), self._results(video)
        segments = inferencer.engine.model.spatial.prediction == 'pred_sem_seg'
        outputs = dict(out_labels=labels) if segments else dict(out_json=detections)
        frames, keys, error, start = 0, 0, None, time.perf_counter()
        before = file_state(path)  # a file that grows meanwhile is not complete
        self._remove(video)  # results of other settings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', VideoWarning)
            try:
                drawn = boxes if self.draw else None
                for sample in inferencer(path, out_video=drawn, **outputs, **options):
                    frames, keys = frames + 1, keys + bool(sample.is_key_frame)
            except (VideoError, ValueError, cv2.error) as reason:
                error = _text(reason).replace(f'{path}: ', '') or type(reason).__name__
                frames = keys = 0
                self._remove(video)
        noted = [_text(one.message) for one in caught if issubclass(one.category, VideoWarning)]
        return dict(
            video=_text(video), file=before, settings=self.settings, error=error, frames=frames,
            key_frames=keys, warnings=noted, seconds=round(time.perf_counter() - start, 3),
        )  # fmt: skip

    def _file(self, video: Path) -> Path:
        return self._records / f'{sha256(os.fsencode(video)).hexdigest()[:32]}.json'

    def _record(self, video: Path) -> dict[str, Any] | None:
        """Return the record of a video that has not changed since, None without one or without its results."""
        try:
            record = json.loads(self._file(video).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        if not record or record['file'] != file_state(self.folder / video):
            return None
        detections, labels, boxes = map(os.path.exists, self._results(video))
        complete = (detections or labels) and (boxes or not record['settings']['draw'])
        return record if record['error'] or complete else None

    def _finished(self, video: Path) -> dict[str, Any] | None:
        """Return the record of a video with results of these settings."""
        record = self._record(video)
        return record if record and record['settings'] == self.settings else None

    def _results(self, video: Path) -> list[Path]:
        """Return where the results of a video are: detections, label maps and the annotated video."""
        kinds = ('json', 'labels', 'boxes.mp4')
        return [(self.out / video).with_name(f'{video.name}.{kind}') for kind in kinds]

    def _remove(self, video: Path) -> None:
        for result in self._results(video):
            if result.is_dir():
                shutil.rmtree(result)
            else:
                result.unlink(missing_ok=True)


def _text(value: object) -> str:
    """Return a value as text that can be written; bytes of names that are not UTF-8 become escape sequences."""
    return str(value).encode(errors='backslashreplace').decode()


def summary_text(content: dict[str, Any]) -> str:
    """Return the summary of an archive as text: what was detected, and what failed and why."""
    lines = [
        f'{content["done"]} of {content["videos"]} videos, {content["frames"]} frames, {content["key_frames"]} key '
        f'frames, {content["seconds"]:.0f} s in all processes'
    ]
    lines += [f'failed: {name}: {reason}' for name, reason in content['failed'].items()]
    lines += [f'damaged: {name}: {"; ".join(texts)}' for name, texts in content['damaged'].items()]
    return '\n'.join(lines)
