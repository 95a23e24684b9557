"""Detections as COCO-VID json and as ILSVRC text."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

from mmdet.structures.mask import encode_mask_results
from pycocotools.mask import area

from semidff.datasets.ilsvrc_format import detection_lines
from semidff.utils.atomic_write import atomic_write

from .base import Output, Result


class DetectionsJson(Output):
    """Write detections as COCO-VID json, as :class:`~semidff.datasets.CocoVIDDataset` reads it, with scores.

    Instance masks are written as run-length encoded ``segmentation``; ``area`` is that of the mask then.

    Neither boxes nor frames are kept in memory: boxes go to the file itself, frames to a temporary file
    beside it, which is appended at the end.

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
        """Append frames, videos and categories."""
        self._file.write('],\n"images": [')
        self._images.seek(0)
        shutil.copyfileobj(self._images, self._file)
        categories = [dict(id=n, name=name) for n, name in enumerate(self._names, start=1)]
        self._file.write(f'],\n"videos": {json.dumps(self._videos)},\n')
        self._file.write(f'"categories": {json.dumps(categories)}}}\n')


@contextmanager
def detections_json(path: str | Path, classes: Sequence[str]) -> Iterator[DetectionsJson]:
    """Open a json that gets its name when the block ends without an error."""
    with (
        atomic_write(path) as file,
        TemporaryFile('w+', dir=Path(path).parent, encoding='utf-8') as images,
    ):
        writer = DetectionsJson(file, images, classes)
        yield writer
        writer.complete()


def _append(file: TextIO, item: dict, first: bool) -> None:
    file.write(('\n' if first else ',\n') + json.dumps(item, allow_nan=False))


class TextOutput(Output):
    """Write detections in the ILSVRC format; frames are numbered from 1, through all videos."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, result: Result) -> None:
        self._file.writelines(detection_lines(result.number, *result.detections()))
