"""Files of results, written while the videos run; they get their names when they are complete."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from os.path import dirname, isdir, isfile, realpath
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple, TextIO

import cv2
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from PIL import Image
from pycocotools.mask import area

from semidff.datasets.ilsvrc_format import detection_lines
from semidff.datasets.video_readers import Frame
from semidff.datasets.video_readers.base import DEFAULT_FPS
from semidff.utils.atomic_write import atomic_path, atomic_write
from semidff.utils.error_messages import FileError
from semidff.utils.file_names import unique_name
from semidff.utils.output_files import check_outputs
from semidff.utils.video_writer import VideoWriter

Draw = Callable[[np.ndarray, DetDataSample], np.ndarray]
"""Returns the picture of a frame (H, W, 3) uint8 BGR and its result."""


class Result(NamedTuple):
    """Predictions of a frame.

    Attributes:
        frame: The frame.
        sample: With ``pred_instances`` or ``pred_sem_seg`` in pixels of the frame.
        number: Number of the frame, from 1, counted through all videos.
    """

    frame: Frame
    sample: DetDataSample
    number: int

    def detections(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels (n,), scores (n,) and boxes (n, 4) x1, y1, x2, y2."""
        found = self.sample.pred_instances  # masks, which may be large, stay where they are
        fields = found.labels, found.scores.float(), found.bboxes.float()
        return tuple(field.cpu().numpy() for field in fields)


class Output:
    """Consumer of results, video by video."""

    def start(self, name: str, fps: float | None) -> None:
        """Begin a video; ``fps`` is None if unknown."""

    def add(self, result: Result) -> None:
        """Take the result of the video's next frame."""
        raise NotImplementedError

    def end(self) -> None:
        """End the video."""

    def complete(self) -> None:
        """Complete the file after the last video."""


@contextmanager
def open_outputs(
    classes: Sequence[str],
    draw: Draw,
    out_video: str | Path | None = None,
    out_json: str | Path | None = None,
    out_txt: str | Path | None = None,
    out_labels: str | Path | None = None,
    fps: float | None = None,
) -> Iterator[list[Output]]:
    """Open the requested outputs. An error in the block leaves no unfinished file behind.

    Args:
        out_video: Annotated mp4; without suffix a folder with a file for each video.
        out_json: COCO-VID json, see :class:`DetectionsJson`.
        out_txt: Detections in the ILSVRC format.
        out_labels: Folder of label maps, see :class:`LabelMaps`.
        fps: Frame rate of the mp4 files; None: that of the videos.
    """
    with ExitStack() as stack:
        outputs: list[Output] = []
        if out_video is not None:
            outputs.append(stack.enter_context(VideoOutput(out_video, draw, rate=fps)))
        if out_json is not None:
            file = stack.enter_context(atomic_write(out_json))
            images = stack.enter_context(
                TemporaryFile('w+', dir=Path(out_json).parent, encoding='utf-8')
            )
            outputs.append(DetectionsJson(file, images, classes))
        if out_txt is not None:
            outputs.append(TextOutput(stack.enter_context(atomic_write(out_txt))))
        if out_labels is not None:
            outputs.append(stack.enter_context(LabelMaps(out_labels)))
        yield outputs
        for output in outputs:
            output.complete()


def check_requested(
    prediction: str,
    inputs: Sequence[str | None],
    others: Sequence[str] = (),
    out_video: str | Path | None = None,
    out_json: str | Path | None = None,
    out_txt: str | Path | None = None,
    out_labels: str | Path | None = None,
) -> None:
    """Check outputs before the first frame is read.

    Args:
        prediction: What the model predicts, ``pred_instances`` or ``pred_sem_seg``.
        inputs: Video files or folders of frames; None for other inputs.
        others: Further files that are read.

    Raises:
        ValueError: If the model does not predict what one of them needs, or the name does not fit.
        FileError: If an output would replace an input or another output, or exists already.
    """
    segments = prediction == 'pred_sem_seg'
    if wrong := (out_json or out_txt) if segments else out_labels:
        found, remedy = ('label maps', 'out_labels') if segments else ('boxes', 'out_json, out_txt')
        raise ValueError(f'{wrong}: this model predicts {found}; use {remedy} or out_video')
    suffix = Path(out_video or '').suffix
    if len(inputs) > 1 and suffix:
        raise ValueError(
            f'{out_video}: {len(inputs)} videos need a folder; give a name without suffix'
        )
    if suffix not in ('', '.mp4'):
        raise ValueError(f'{out_video}: only .mp4 files are written; give a name that ends in .mp4')
    files, folders = ([p for p in inputs if p and is_kind(p)] for is_kind in (isfile, isdir))
    for output, paths in ((None if suffix else out_video, files), (out_labels, folders)):
        places = {realpath(dirname(name)) for path in paths for name in (path, realpath(path))}
        if output and realpath(output) in places:
            raise FileError(f'{output}: is the folder of an input, which an output could replace')
    check_outputs([out_video, out_json, out_txt, out_labels], [*inputs, *others])


class DetectionsJson(Output):
    """Write detections as COCO-VID json, as :class:`~semidff.datasets.CocoVIDDataset` reads it, with scores.

    Instance masks are written as run-length encoded ``segmentation``; ``area`` is that of the mask then.

    Neither boxes nor frames are kept in memory: boxes go to the file itself, frames to a temporary file, which is
    appended at the end.

    Args:
        file: The json.
        images: The temporary file, readable too.
        classes: Class names.
    """

    def __init__(self, file: TextIO, images: TextIO, classes: Sequence[str]) -> None:
        self._file, self._images = file, images
        self._names = list(classes)
        self._videos: list[dict] = []
        self._boxes = 0
        self._file.write('{"annotations": [')

    def start(self, name: str, fps: float | None) -> None:
        self._videos.append(dict(id=len(self._videos), name=name, length=0, fps=fps))

    def add(self, result: Result) -> None:
        video, frame = self._videos[-1], result.frame
        video['length'] = frame.index + 1
        height, width = frame.image.shape[:2]
        image = dict(
            id=result.number,
            ilsvrc_id=result.number,  # as in text; a frame that cannot be read has none
            video_id=video['id'],
            frame_id=frame.index,
            file_name=frame.path or f'{video["name"]}/{frame.index:06d}.jpg',
            width=width,
            height=height,
            timestamp=round(frame.timestamp, 6),
            is_key_frame=result.sample.is_key_frame,
        )
        _append(self._images, image, first=self._images.tell() == 0)
        found = [array.tolist() for array in result.detections()]
        masks = result.sample.pred_instances.get('masks')
        encoded = [] if masks is None else encode_mask_results(masks.cpu().numpy())
        for i, (label, score, (x1, y1, x2, y2)) in enumerate(zip(*found, strict=True)):
            self._names += [f'class {n}' for n in range(len(self._names), label + 1)]
            width, height = max(x2 - x1, 0.0), max(y2 - y1, 0.0)  # CenterNet's may be negative
            box = dict(
                id=self._boxes + 1,
                image_id=result.number,
                category_id=label + 1,
                bbox=[x1, y1, width, height],
                area=width * height,
                iscrowd=0,
                score=score,
            )
            if encoded:
                text = dict(encoded[i], counts=encoded[i]['counts'].decode())
                box.update(area=int(area(encoded[i])), segmentation=text)
            _append(self._file, box, first=self._boxes == 0)
            self._boxes += 1

    def complete(self) -> None:
        self._file.write('],\n"images": [')
        self._images.seek(0)
        shutil.copyfileobj(self._images, self._file)
        categories = [dict(id=n, name=name) for n, name in enumerate(self._names, start=1)]
        self._file.write(f'],\n"videos": {json.dumps(self._videos)},\n')
        self._file.write(f'"categories": {json.dumps(categories)}}}\n')


def _append(file: TextIO, item: dict, first: bool) -> None:
    file.write(('\n' if first else ',\n') + json.dumps(item, allow_nan=False))


class TextOutput(Output):
    """Write detections in the ILSVRC format; frames are numbered from 1, through all videos."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, result: Result) -> None:
        self._file.writelines(detection_lines(result.number, *result.detections()))


class LabelMaps(Output, AbstractContextManager):
    """Write the class number of each pixel: ``<folder>/<video>/000000.png``, in the size of the frame.

    Label maps of an earlier run are removed when their video begins, those of this run if the block of the ``with``
    statement raises.
    """

    def __init__(self, folder: str | Path) -> None:
        self._root, self._names = Path(folder), set()
        self._frames: dict[Path, int] = {}  # written in each folder

    def __exit__(self, *error: object) -> None:
        for folder, count in self._frames.items() if error[0] is not None else ():
            for index in range(count):
                (folder / f'{index:06d}.png').unlink(missing_ok=True)

    def start(self, name: str, fps: float | None) -> None:
        self._folder = self._root / unique_name(name, self._names)
        for file in self._folder.glob('*.png'):
            if re.fullmatch(r'\d{6,}', file.stem):
                file.unlink()

    def add(self, result: Result) -> None:
        labels = result.sample.pred_sem_seg.data[0].cpu().numpy()
        with atomic_path(self._folder / f'{result.frame.index:06d}.png') as path:
            Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(path)
        self._frames[self._folder] = result.frame.index + 1


class VideoOutput(Output, AbstractContextManager):
    """Render results into mp4 files.

    Frames that differ in size from the video's first are scaled to fit, with black bars. Used as a context
    manager, it removes the unfinished file if the block raises.

    Args:
        path: The mp4 file; without the suffix .mp4 a folder with a file for each video.
        draw: Returns the picture of a frame (H, W, 3) uint8 BGR and its result.
        fps: Frame rate of videos whose own rate is unknown.
        max_videos: Number of videos that are rendered; None: all.
        rate: Frame rate of the mp4 files in place of the videos'.
    """

    def __init__(
        self,
        path: str | Path,
        draw: Draw,
        fps: float = DEFAULT_FPS,
        max_videos: int | None = None,
        rate: float | None = None,
    ) -> None:
        self.path, self.draw = Path(path), draw
        self.fps, self.max_videos, self.rate = fps, max_videos, rate
        self._writer: VideoWriter | None = None
        self._size: tuple[int, int] | None = None
        self._names: set[str] = set()

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(*error)
            self._writer = None

    def start(self, name: str, fps: float | None = None) -> None:
        """Begin a video and end the one before; slashes in names become underscores."""
        self.end()
        if self.max_videos is not None and len(self._names) >= self.max_videos:
            return
        name = unique_name(name, self._names)
        path = self.path if self.path.suffix == '.mp4' else self.path / f'{name}.mp4'
        self._writer, self._size = VideoWriter(path, self.rate or fps or self.fps), None

    def add(self, result: Result) -> None:
        self.render(result.sample, result.frame.image)

    def render(self, sample: DetDataSample, image: np.ndarray | None = None) -> None:
        """Draw the next frame.

        Args:
            sample: Its result.
            image: The frame (H, W, 3) uint8 BGR; None: read from the sample's ``img_path``.
        """
        if self._writer is None:
            return
        if image is None:
            # upright by its EXIF orientation, as the test pipeline reads it
            image = cv2.imread(sample.img_path)
        if image is None:
            raise OSError(f'{sample.img_path}: cannot be read as an image to draw on')
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
        self._writer.write(picture)

    def end(self) -> None:
        self.__exit__(None, None, None)
