"""Files of results, written while videos run, and completed at an early end, too."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from os.path import dirname, isdir, realpath, relpath
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple, TextIO

import cv2
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmengine.structures import InstanceData
from PIL import Image
from pycocotools.mask import area

from semidff.datasets.ilsvrc_format import detection_lines
from semidff.utils.atomic_write import atomic_path, atomic_write
from semidff.utils.error_messages import FileError
from semidff.utils.files import check_outputs, unique_name
from semidff.utils.logs import log_warning
from semidff.utils.video_writer import VideoWriter, is_storable

from .schedule import FrameTimes

Draw = Callable[[np.ndarray, DetDataSample], np.ndarray]
"""Returns the picture of a frame (H, W, 3) uint8 BGR and its result."""


class Output(AbstractContextManager):
    """Consumer of results, video by video.

    Whatever ends the ``with`` block, files have what was added before. A file that cannot be
    written is removed.
    """

    def start(self, name: str) -> None:
        """Begin a video."""

    def add(self, sample: DetDataSample, image: np.ndarray) -> None:
        """Take the result of the video's next frame, in pixels of the frame (H, W, 3) uint8 BGR."""

    def end(self) -> None:
        """End the video."""

    def __exit__(self, *error: object) -> None:
        self.end()


class OutputFiles(NamedTuple):
    """Files and folders of results, see :class:`~semidff.apis.VideoInferencer`."""

    video: str | Path | None = None
    json: str | Path | None = None
    txt: str | Path | None = None
    labels: str | Path | None = None
    mot: str | Path | None = None

    def check(self, prediction: str, videos: Sequence[Any], others: Sequence[str] = ()) -> None:
        """Raise a ValueError if the model has no such results or an input could be replaced.

        Args:
            prediction: What the model predicts, ``pred_instances`` or ``pred_sem_seg``.
            videos: The inputs, of which some are files or folders of frames.
            others: Further files that are read.
        """
        segments = prediction == 'pred_sem_seg'
        if wrong := (self.json or self.txt or self.mot) if segments else self.labels:
            kind, remedy = (
                ('label maps', 'out_labels') if segments else ('boxes', 'out_json, out_txt')
            )
            raise ValueError(f'{wrong}: this model predicts {kind}; use {remedy} or out_video')
        for path, kind in ((self.mot, '.txt'), (self.video, '.mp4')):
            suffix = Path(path or '').suffix
            if suffix not in ('', kind) or (suffix and len(videos) > 1):
                raise ValueError(
                    f'{path}: give a name that ends in {kind}, or for several videos a folder '
                    'without suffix'
                )
        paths = [v if isinstance(v, str | Path) else getattr(v, 'path', None) for v in videos]
        for path in filter(None, paths):
            folder = self.labels if isdir(path) else None if suffix else self.video
            parents = {realpath(dirname(each)) for each in (path, realpath(path))}
            if folder and realpath(folder) in parents:
                raise FileError(
                    f'{folder}: is the folder of an input, which an output could replace'
                )
        check_outputs(self, [*paths, *others])

    def writers(self, classes: Sequence[str], draw: Draw, fps: float | None) -> list[Output]:
        """Return the outputs; their files are opened with the ``with`` block."""
        outputs: list[Output] = []
        if self.video:
            outputs.append(VideoOutput(self.video, draw, fps))
        if self.json:
            by_line = str(self.json) == '-' or Path(self.json).suffix == '.jsonl'
            outputs.append((JsonLines if by_line else CocoJson)(self.json, classes))
        kinds = (ILSVRCText, self.txt), (LabelMaps, self.labels), (MOTOutput, self.mot)
        return outputs + [kind(path) for kind, path in kinds if path]

    def __str__(self) -> str:
        return ', '.join(map(str, filter(None, self)))


def check_limits(fps: float | None, max_frames: int | None, pred_score_thr: float = 0) -> None:
    """Raise a ValueError if a frame rate, a number of frames or a threshold is impossible."""
    if max_frames is not None and max_frames < 1:
        raise ValueError(f'max_frames is {max_frames}; it must be at least 1')
    if fps is not None and not is_storable(fps):
        raise ValueError(f'fps is {fps}; it must be from 0.001 to 65535')
    if not 0 <= pred_score_thr <= 1:
        raise ValueError(f'pred_score_thr is {pred_score_thr}; it must be from 0 to 1')


class _Detections(Output):
    """A text file of boxes, which an error removes only if it has no results yet.

    Frames are numbered from 1, through all videos; frames that cannot be read count. Boxes of
    random or diverged weights that are not finite are left out.
    """

    def __init__(self, path: str | Path, classes: Sequence[str] = ()) -> None:
        self._path, self._names = path, list(classes)
        self._number = self._infinite = 0

    def __enter__(self) -> '_Detections':
        is_file = str(self._path) != '-'
        self._stack = ExitStack()
        self._file = self._stack.enter_context(self._open() if is_file else nullcontext(sys.stdout))
        self._stack.push(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)

    def _open(self) -> AbstractContextManager[TextIO]:
        return atomic_write(self._path)

    def _keep(self, kind: type | None, *error: object) -> bool:
        """Complete the file; return whether it is kept in spite of an error."""
        if self._infinite:
            log_warning(f'{self._path}: {self._infinite} boxes that are not finite are left out')
        if kind is not None and not self._number:
            return False
        self._complete(kind is None)
        return True

    def start(self, name: str) -> None:
        self._video, self._before = name, self._number

    def add(self, sample: DetDataSample, image: np.ndarray) -> None:
        self._number = self._before + sample.frame_id + 1
        boxes = sample.pred_instances
        finite = boxes.bboxes.isfinite().reshape(-1, 4).all(1)
        self._infinite += int((~finite).sum())
        self._write(sample, boxes if finite.all() else boxes[finite], image)

    def _write(self, sample: DetDataSample, boxes: InstanceData, image: np.ndarray) -> None:
        raise NotImplementedError

    def _complete(self, is_complete: bool) -> None:
        """End the file."""


class ILSVRCText(_Detections):
    """Writes detections in the ILSVRC format."""

    def _write(self, sample: DetDataSample, boxes: InstanceData, image: np.ndarray) -> None:
        self._file.writelines(detection_lines(self._number, *_arrays(boxes)))


class CocoJson(_Detections):
    """Writes detections as the json of :class:`~semidff.datasets.CocoVIDDataset`, with scores.

    Instance masks are written as run-length encoded ``segmentation``; ``area`` is then that of the
    mask. ``complete`` is whether the run has reached its end; ``fps`` of a video is the mean rate
    without gaps in time.

    Neither boxes nor frames are kept in memory: boxes go to the file itself, frames to a temporary
    file, which is appended at the end.
    """

    def __enter__(self) -> 'CocoJson':
        self._videos: list[dict] = []
        self._boxes = 0
        super().__enter__()
        self._file.write('{"annotations": [')
        folder = dirname(self._path) or '.'
        self._images = TemporaryFile('w+', dir=folder, encoding='utf-8')  # noqa: SIM115
        return self

    def start(self, name: str) -> None:
        super().start(name)
        self._times = FrameTimes()
        self._videos.append(dict(id=len(self._videos), name=name, length=0, fps=None))

    def _write(self, sample: DetDataSample, boxes: InstanceData, image: np.ndarray) -> None:
        video = self._videos[-1]
        self._times.push(sample.timestamp, sample.get('after_gap'), sample.get('dropped', 0))
        video.update(length=sample.frame_id + 1, fps=self._times.rate)
        if sample.img_path:
            file = relpath(sample.img_path, dirname(self._path) or '.')
        else:
            file = f'{video["name"]}/{sample.frame_id:06d}.jpg'
        number = dict(id=self._number, ilsvrc_id=self._number, video_id=video['id'])
        frame = dict(number, file_name=file, **_description(sample, image))
        _append(self._images, frame, first=self._images.tell() == 0)
        for box in _annotations(boxes):
            label, self._boxes = box['category_id'], self._boxes + 1
            self._names += [f'class {n}' for n in range(len(self._names), label)]
            box = dict(id=self._boxes, image_id=self._number, **box)
            _append(self._file, box, first=self._boxes == 1)

    def _complete(self, is_complete: bool) -> None:
        self._file.write('],\n"images": [')
        with self._images:
            self._images.seek(0)
            shutil.copyfileobj(self._images, self._file)
        categories = [dict(id=n, name=name) for n, name in enumerate(self._names, start=1)]
        self._file.write(f'],\n"complete": {json.dumps(is_complete)},\n')
        self._file.write(f'"videos": {json.dumps(self._videos)},\n')
        self._file.write(f'"categories": {json.dumps(categories)}}}\n')


class JsonLines(_Detections):
    """Writes a line of JSON for each frame at once, with the entries of a COCO-VID json.

    The path ``-`` is standard output. Other programs can read a file meanwhile.
    """

    @contextmanager
    def _open(self) -> Iterator[TextIO]:
        os.makedirs(dirname(self._path) or '.', exist_ok=True)
        with open(self._path, 'w', encoding='utf-8') as file:
            try:
                yield file
            except BaseException:  # ahead of the first result
                os.remove(self._path)
                raise

    def _write(self, sample: DetDataSample, boxes: InstanceData, image: np.ndarray) -> None:
        annotations = list(_annotations(boxes))
        for box in annotations:
            label = box['category_id'] - 1
            known = label < len(self._names)
            box['category'] = self._names[label] if known else f'class {label}'
        line = dict(
            video=self._video,
            **_description(sample, image),
            dropped=sample.get('dropped', 0),
            annotations=annotations,
        )
        self._file.write(json.dumps(line, allow_nan=False) + '\n')
        self._file.flush()


def _description(sample: DetDataSample, image: np.ndarray) -> dict:
    """Return the entries of a frame that all json files have."""
    return dict(
        frame_id=sample.frame_id,
        width=image.shape[1],
        height=image.shape[0],
        timestamp=round(sample.timestamp, 6),
        is_key_frame=sample.is_key_frame,
        frame_kind=sample.get('frame_kind', 'key'),
    )


def _arrays(found: InstanceData) -> list[np.ndarray]:
    """Return labels, scores and boxes; masks, which may be large, stay where they are."""
    fields = found.labels, found.scores.float(), found.bboxes.float()
    return [field.cpu().numpy() for field in fields]


def _annotations(found: InstanceData) -> Iterator[dict]:
    """Yield annotations of a COCO json, without numbers."""
    masks = found.get('masks')
    encoded = [] if masks is None else encode_mask_results(masks.cpu().numpy())
    identities = found.instances_id.tolist() if 'instances_id' in found else None
    rows = zip(*(array.tolist() for array in _arrays(found)), strict=True)
    for i, (label, score, (x1, y1, x2, y2)) in enumerate(rows):
        width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)  # CenterNet's may be negative
        box = dict(
            category_id=label + 1,
            bbox=[x1, y1, width, height],
            area=width * height,
            iscrowd=0,
            score=score,
        )
        if identities is not None and identities[i] >= 0:
            box['instance_id'] = identities[i]
        if encoded:
            text = dict(encoded[i], counts=encoded[i]['counts'].decode())
            box.update(area=int(area(encoded[i])), segmentation=text)
        yield box


def _append(file: TextIO, item: dict, first: bool) -> None:
    file.write(('\n' if first else ',\n') + json.dumps(item, allow_nan=False))


class MOTOutput(Output):
    """Writes text of MOTChallenge: ``frame,id,x,y,width,height,score,class,-1``.

    Frames and classes are numbered from 1, frames in each video. Boxes without identity are left
    out.

    Args:
        path: The text file; without the suffix .txt a folder with a file for each video.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._names, self._stack = Path(path), set(), ExitStack()

    def start(self, name: str) -> None:
        self.end()
        name = f'{unique_name(name, self._names)}.txt'
        path = self._path if self._path.suffix == '.txt' else self._path / name
        self._file = self._stack.enter_context(atomic_write(path))

    def add(self, sample: DetDataSample, image: np.ndarray) -> None:
        found = sample.pred_instances
        found = found[(found.instances_id >= 0) & found.bboxes.isfinite().all(1)]
        fields = found.instances_id, found.bboxes, found.scores, found.labels
        rows = zip(*(field.tolist() for field in fields), strict=True)
        for identity, (x1, y1, x2, y2), score, label in rows:
            box = f'{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}'
            line = f'{sample.frame_id + 1},{identity},{box},{score:.4f},{label + 1},-1\n'
            self._file.write(line)

    def end(self) -> None:
        self._stack.close()


class LabelMaps(Output):
    """Writes the class number of each pixel to ``<folder>/<video>/000000.png``.

    Label maps of an earlier run are removed when their video begins.
    """

    def __init__(self, folder: str | Path) -> None:
        self._root, self._names = Path(folder), set()

    def start(self, name: str) -> None:
        self._folder = self._root / unique_name(name, self._names)
        for file in self._folder.glob('*.png'):
            if re.fullmatch(r'\d{6,}', file.stem):
                file.unlink()

    def add(self, sample: DetDataSample, image: np.ndarray) -> None:
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        with atomic_path(self._folder / f'{sample.frame_id:06d}.png') as path:
            Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(path)


class VideoOutput(Output):
    """Renders results into mp4 files.

    Frames that differ in size from the video's first are scaled to fit, with black bars.

    Args:
        path: The mp4 file; without the suffix .mp4 a folder with a file for each video.
        fps: Frame rate of the mp4 files; None: frames have the time stamps of the video.
        max_videos: Number of videos that are rendered; None: all.
    """

    def __init__(
        self, path: str | Path, draw: Draw, fps: float | None = None, max_videos: int | None = None
    ) -> None:
        self.path, self.draw = Path(path), draw
        self.fps, self.max_videos = fps, max_videos
        self._writer: VideoWriter | None = None
        self._size: tuple[int, int] | None = None
        self._names: set[str] = set()

    def start(self, name: str) -> None:
        self.end()
        if self.max_videos is not None and len(self._names) >= self.max_videos:
            return
        name = unique_name(name, self._names)
        path = self.path if self.path.suffix == '.mp4' else self.path / f'{name}.mp4'
        self._writer, self._size = VideoWriter(path, self.fps), None

    def add(self, sample: DetDataSample, image: np.ndarray) -> None:
        if self._writer is None:
            return
        picture = self.draw(image, sample)
        height, width = picture.shape[:2]
        size = self._size = self._size or (height, width)
        if (height, width) != size:  # scale it to fit, black around it
            factor = min(size[0] / height, size[1] / width)
            height, width = max(round(height * factor), 1), max(round(width * factor), 1)
            top, left = (size[0] - height) // 2, (size[1] - width) // 2
            canvas = np.zeros((*size, 3), np.uint8)
            canvas[top : top + height, left : left + width] = cv2.resize(picture, (width, height))
            picture = canvas
        self._writer.write(picture, sample.get('timestamp', 0.0))

    def end(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.__exit__(None, None, None)
