"""Detection in all videos of a folder, by any number of processes that may be killed at any time.

A process claims a video by a lock on a byte of one file, which the system releases when the process ends, however it
ends. What became of a video is written to a record when its outputs are complete; a video without a record is free for
the next process, of this run or of a later one.
"""

import errno
import fcntl
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2

from semidff.datasets.video_folders import find_videos
from semidff.datasets.video_readers import VideoError, VideoWarning
from semidff.datasets.video_readers.sources import check_limits
from semidff.utils.atomic_write import atomic_write, write_json
from semidff.utils.tool_files import FileError, check_new

from .video_inferencer import VideoInferencer

RECORDS = '.records'


class Archive:
    """Videos of a folder and the results of each.

    ``street.mp4`` has the results ``street.mp4.json``, detections as COCO-VID json, and ``street.mp4.boxes.mp4``,
    in the same sub-folder of ``out``. A segmentation network writes label maps to the folder ``street.mp4.labels`` in
    place of the json. Videos that failed in an earlier run are tried again if existing files may be replaced
    (``--overwrite``; from Python always).

    Args:
        folder: Folder of videos.
        out: Folder of the results: a new or empty one, or that of an earlier run.
        settings: What the results depend on, such as config, checkpoint and method. Files count with their size and
            time of change.
        draw: Whether to write annotated videos.

    Raises:
        FileError: If ``out`` is inside ``folder`` or the other way round, holds something else, or holds results of
            other settings, unless existing files may be replaced.
        VideoError: If there are no videos.
    """

    def __init__(
        self, folder: str | Path, out: str | Path, settings: dict[str, Any], draw: bool = True
    ) -> None:
        self.folder, self.out, self.draw = Path(folder), Path(out), draw
        settings = {k: [v, *_state(v)] if _is_file(v) else v for k, v in settings.items()}
        self.settings = json.loads(json.dumps(dict(settings, draw=draw)))
        inside = self.out.resolve(), self.folder.resolve()
        if inside[0] in (inside[1], *inside[1].parents) or inside[1] in inside[0].parents:
            raise FileError(f'{out}: must be neither in the folder of the videos nor around it')
        self.videos = find_videos(folder, self.out)
        if self.out.is_dir() and any(self.out.iterdir()) and not (self.out / RECORDS).is_dir():
            raise FileError(f'{out}: is a folder with other files; give a new one')
        (self.out / RECORDS).mkdir(parents=True, exist_ok=True)
        self._again: dict[Path, dict] = {}  # records of failures that are to be replaced
        for video in self.videos:
            record = self._record(video, of_any_settings=True)
            if record is None or (record['settings'] == self.settings and not record['error']):
                continue
            try:
                check_new(self._file(video))
                self._again[video] = record
            except FileError as error:
                if record['settings'] != self.settings:
                    changed = [
                        k for k, v in self.settings.items() if record['settings'].get(k) != v
                    ]
                    raise FileError(f'{error} (made with other settings: {changed})') from None

    def run(
        self,
        inferencer: VideoInferencer,
        progress: Callable[[str], None] = lambda text: None,
        **options: Any,
    ) -> dict[str, Any]:
        """Detect in all videos that have no results yet, until every video has some, also from other processes.

        A video that cannot be read, or whose results would have too long a name, is recorded with the reason and is not
        tried again until its file changes. Other errors, such as a full disk or those of a GPU, end the run.

        Args:
            inferencer: The detector.
            progress: Called with a line of text for each video.
            **options: Arguments of the inferencer's call.

        Returns:
            The summary, which is in ``summary.json`` and ``summary.txt``, too.

        Raises:
            ValueError: If an option is invalid.
            FileError: If results cannot be written.
        """
        check_limits(
            options.get('fps'), options.get('max_frames'), options.get('pred_score_thr', 0)
        )
        busy = []
        with open(self.out / RECORDS / 'claims', 'ab') as claims:
            # the others' videos last, when they are complete or abandoned
            for wait in (False, True):
                for video in busy if wait else self.videos:
                    with _claimed(claims, video, wait) as is_mine:
                        if not is_mine:
                            busy.append(video)
                        elif self._record(video) in (None, self._again.get(video)):
                            record = self._detect(inferencer, video, options)
                            write_json(record, self._file(video), indent=1)
                            result = record['error'] or f'{record["frames"]} frames'
                            progress(f'{record["video"]}: {result}')
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Count videos and frames and list what failed; write both to the output folder."""
        records = {_text(video): self._record(video) for video in self.videos}
        known = [record for record in records.values() if record is not None]
        content = dict(
            videos=len(records),
            done=sum(record['error'] is None for record in known),
            frames=sum(record['frames'] for record in known),
            key_frames=sum(record['key_frames'] for record in known),
            seconds=sum(record['seconds'] for record in known),
            failed={n: r['error'] for n, r in records.items() if r is not None and r['error']},
            changed=[n for n, r in records.items() if r is None],
            damaged={n: r['warnings'] for n, r in records.items() if r is not None and r['warnings']},
            settings=self.settings,
        )  # fmt: skip
        write_json(content, self.out / 'summary.json', indent=1)
        with atomic_write(self.out / 'summary.txt') as file:
            file.write(summary_text(content) + '\n')
        return content

    def _detect(self, inferencer: VideoInferencer, video: Path, options: dict) -> dict[str, Any]:
        """Detect in one video and return its record."""
        detections, labels, boxes = self._results(video)
        outputs = dict(out_video=boxes if self.draw else None)
        if inferencer.engine.model.spatial.prediction == 'pred_sem_seg':
            outputs['out_labels'] = labels
        else:
            outputs['out_json'] = detections
        frames = keys = 0
        error, start = None, time.perf_counter()
        before = _state(self.folder / video)  # a file that grows meanwhile is not complete
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', VideoWarning)
            try:
                # Those of other settings or contents, and what a killed process has left.
                shutil.rmtree(labels, ignore_errors=True)
                for file in (detections, boxes):
                    if file.is_file():
                        file.unlink()
                for sample in inferencer(str(self.folder / video), **outputs, **options):
                    frames, keys = frames + 1, keys + bool(sample.is_key_frame)
            except (VideoError, ValueError, cv2.error, OSError) as reason:
                if not _is_of_video(reason, video):
                    raise
                error = f'{reason}'.replace(f'{self.folder / video}: ', '') or type(reason).__name__
                shutil.rmtree(labels, ignore_errors=True)
        noted = [_text(one.message) for one in caught if issubclass(one.category, VideoWarning)]
        return dict(
            video=_text(video), file=before, settings=self.settings, error=error and _text(error),
            frames=0 if error else frames, key_frames=0 if error else keys, warnings=noted,
            seconds=round(time.perf_counter() - start, 3), process=os.getpid(),
        )  # fmt: skip

    def _file(self, video: Path) -> Path:
        return self.out / RECORDS / f'{_digest(video)}.json'

    def _record(self, video: Path, of_any_settings: bool = False) -> dict[str, Any] | None:
        """Return the record of a video that has not changed since, None without one or without its results."""
        try:
            record = json.loads(self._file(video).read_bytes())
        except FileNotFoundError:
            return None
        valid = of_any_settings or record['settings'] == self.settings
        valid = valid and (record['error'] or self._has_results(video, record['settings']['draw']))
        return record if valid and record['file'] == _state(self.folder / video) else None

    def _has_results(self, video: Path, draw: bool) -> bool:
        detections, labels, boxes = (file.exists() for file in self._results(video))
        return (detections or labels) and (boxes or not draw)

    def _results(self, video: Path) -> list[Path]:
        """Return where the results of a video are: detections, label maps and the annotated video."""
        kinds = ('json', 'labels', 'boxes.mp4')
        return [(self.out / video).with_name(f'{video.name}.{kind}') for kind in kinds]


@contextmanager
def _claimed(claims: Any, video: Path, wait: bool) -> Iterator[bool]:
    """Lock the byte of a video, if it is free or when it becomes so; yield whether it is locked."""
    place = int(_digest(video)[:15], 16)
    try:
        fcntl.lockf(claims, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
    except (BlockingIOError, PermissionError):
        yield False
        return
    try:
        yield True
    finally:
        fcntl.lockf(claims, fcntl.LOCK_UN, 1, place)


def _state(path: str | Path) -> list[int]:
    """Size and time of change of a file, nothing if it is gone or a link to nowhere."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _text(value: object) -> str:
    """Return a value as text that can be written; bytes of names that are not UTF-8 become escape sequences."""
    return str(value).encode(errors='backslashreplace').decode()


def _is_of_video(error: Exception, video: Path) -> bool:
    """Return whether an error has to do with a video or its name, and not with the machine or the folder of results."""
    if isinstance(error, FileError):
        return _text(video) != str(video)
    return not isinstance(error, OSError) or error.errno == errno.ENAMETOOLONG


def _is_file(value: Any) -> bool:
    return isinstance(value, str) and os.path.isfile(value)


def _digest(video: Path) -> str:
    return sha256(os.fsencode(video)).hexdigest()[:32]


def summary_text(content: dict[str, Any]) -> str:
    """Return the summary of an archive as text: what was detected, and what failed and why."""
    lines: Sequence[str] = [
        f'{content["done"]} of {content["videos"]} videos, {content["frames"]} frames, {content["key_frames"]} key '
        f'frames, {content["seconds"]:.0f} s in all processes'
    ]
    lines += [f'failed: {name}: {reason}' for name, reason in content['failed'].items()]
    lines += [f'changed while it was processed: {name}' for name in content['changed']]
    lines += [f'damaged: {name}: {"; ".join(texts)}' for name, texts in content['damaged'].items()]
    return '\n'.join(lines)
