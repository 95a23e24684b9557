"""Clips that detectors are evaluated on: ranges of videos, or the frames of a labeled data set."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from semidff.datasets.vid_json import image_folder
from semidff.datasets.video_readers import open_video, read_image
from semidff.evaluation import VIDEvaluator

MAX_FRAMES = 600
"""Longest clip: its gray pictures are kept in memory. Longer labeled videos are divided."""

_SAMPLE = 2**16  # bytes at the start, in the middle and at the end of a file


class Clip(NamedTuple):
    """Frames ``start`` to ``stop - 1`` of a video, or the images ``files``."""

    path: str = ''
    start: int = 0
    stop: int | None = None
    files: tuple[str, ...] = ()

    def digest(self) -> str:
        """Hash place and content: of files the size and sampled bytes, so that copies are equal."""
        digest = sha256(repr((self.start, self.stop)).encode())
        folder = Path(self.path)
        files = self.files or (sorted(folder.iterdir()) if folder.is_dir() else [folder])
        is_video = len(files) == 1
        for file in filter(Path.is_file, map(Path, files)):
            size = file.stat().st_size
            digest.update(f'{"" if is_video else file.name} {size}'.encode())
            with file.open('rb') as content:
                for place in (0, size // 2, max(size - _SAMPLE, 0)) if is_video else (size // 2,):
                    content.seek(place)
                    digest.update(content.read(_SAMPLE if is_video else _SAMPLE // 16))
        return digest.hexdigest()

    def length(self) -> int:
        """Return the number of frames."""
        if self.files:
            return len(self.files)
        with closing(open_video(self.path)) as video:
            return min(self.stop or len(video), len(video)) - self.start

    def images(self) -> Iterator[np.ndarray]:
        """Decode the frames, (H, W, 3) uint8."""
        if self.files:
            yield from map(read_image, self.files)
            return
        with closing(open_video(self.path)) as video:
            if not self.start:
                yield from (frame.image for frame in islice(video, self.stop))
                return
            stop = len(video) if self.stop is None else min(self.stop, len(video))
            for number in range(self.start, stop):  # decodes little of what is before the clip
                yield from video.frames([number])


def labeled_clips(
    labels: str | Path, images: str | Path | None, classes: Sequence[str] | None
) -> tuple[list[Clip], VIDEvaluator]:
    """Return all frames of a COCO-VID json, in the order of the evaluator, and the evaluator.

    Args:
        images: Folder of the images; None: that of the json, or one beside it with its name.
        classes: Class names of the detector; None if it has none: those of the json.
    """
    evaluator = VIDEvaluator(str(labels), classes)
    if not len(evaluator.truth.frames):
        names = ', '.join(evaluator.classes)
        raise ValueError(f'{labels}: has no box of the classes {names}, so accuracy is undefined')
    root = Path(images or image_folder(labels, evaluator.frames[0]['file_name']))
    clips = []
    for _, frames in groupby(evaluator.frames, lambda frame: frame['video_id']):
        files = [str(root / frame['file_name']) for frame in frames]
        clips += [
            Clip(files=tuple(files[start : start + MAX_FRAMES]))
            for start in range(0, len(files), MAX_FRAMES)
        ]
    return clips, evaluator


def labels_of(config: Config) -> tuple[str, str]:
    """Return the COCO-VID json and the folder of images of a config's test data."""
    dataset = build_test_dataset(config, '--videos or --labels')
    return dataset.ann_file, dataset.data_prefix['img']


def build_test_dataset(config: Config, remedy: str) -> Dataset:
    """Build the data set of a config's test data; without any, a ValueError asks for ``remedy``."""
    if not config.get('test_dataloader'):
        raise ValueError(f'{config.filename}: has no test data; give {remedy}')
    init_default_scope(config.get('default_scope', 'mmdet'))
    return DATASETS.build(config.test_dataloader.dataset)
