"""Cityscapes with its video snippets (DFF 5.1): 30 frames each, the 20th of which is labeled."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from semidff.utils.atomic_write import atomic_path, atomic_write, write_json
from semidff.utils.command_line import Count, Input
from semidff.utils.files import check_outputs
from semidff.utils.progress import track

# Number of each of the 19 evaluated classes in *_gtFine_labelIds.png, in the order of the training
# ids.
CLASS_IDS = {
    'road': 7, 'sidewalk': 8, 'building': 11, 'wall': 12, 'fence': 13, 'pole': 17,
    'traffic light': 19, 'traffic sign': 20, 'vegetation': 21, 'terrain': 22, 'sky': 23,
    'person': 24, 'rider': 25, 'car': 26, 'truck': 27, 'bus': 28, 'train': 31, 'motorcycle': 32,
    'bicycle': 33,
}  # fmt: skip
IGNORED = 255
LENGTH, LABELED = 30, 19  # frames of a snippet; number of the labeled frame, from 0
_FILE = re.compile(r'(\w+?)_(\d{6})_(\d{6})_gtFine_labelIds\.png')


class Snippet(NamedTuple):
    """A labeled snippet, the files of its frames, and the label file of frame 19."""

    name: str
    frames: list[Path]
    labels: Path


def convert_cityscapes(
    root: Input,
    out: str,
    *,
    splits: Sequence[Literal['train', 'val']] = ('train', 'val'),
    frames_before: int = 9,
    frames_after: int = 0,
    workers: Count = 4,
) -> str:
    """Prepare Cityscapes and its video snippets for training and evaluation on videos.

    Writes into ``out``: ``snippets/<split>/<snippet>/000000.png`` ..., links to the frames;
    ``labels/<split>/<snippet>/000019.png`` with the training ids (0 to 18, 255 ignored);
    ``<split>.json``, COCO-VID with the labeled frame of each snippet and frames around it; and
    ``<split>.txt``, the list of all snippets.

    Args:
        root: Folder with ``leftImg8bit_sequence`` and ``gtFine``, unpacked.
        out: Folder to write.
        splits: Splits.
        frames_before: Frames before the labeled one that the json lists; 9 are for l <= 10 of
            protocol ``pairs``.
        frames_after: Frames after the labeled one, for method centered.
        workers: Threads.

    Returns:
        A report.
    """
    lines = []
    for split in splits:
        done = convert_split(root, out, split, frames_before, frames_after, workers)
        lines.append(f'{split}: {done["snippets"]} snippets, {done["images"]} frames -> {out}')
    return '\n'.join(lines)


def convert_split(
    root: str | Path,
    out: str | Path,
    split: str,
    frames_before: int = 9,
    frames_after: int = 0,
    workers: int = 4,
) -> dict[str, int]:
    """Convert a split; return the numbers of snippets and of frames in the json."""
    listed = range(LABELED - frames_before, LABELED + frames_after + 1)
    if listed[0] < 0 or listed[-1] >= LENGTH:
        raise ValueError(f'a snippet has {LABELED} frames before and {LENGTH - LABELED - 1} after')
    root, out = Path(root), Path(out)
    snippets = find_snippets(root, split)
    if not (out / 'snippets' / split).is_dir():  # otherwise they are of an earlier run
        check_outputs([out / f'{split}.json', out / f'{split}.txt'], overwrite=False)
    convert = partial(_convert_snippet, out, split)
    with ThreadPoolExecutor(workers) as pool:
        sizes = list(track(pool.map(convert, snippets), split, len(snippets), 'snippets'))
    videos, images = [], []
    for number, (snippet, (width, height)) in enumerate(zip(snippets, sizes, strict=True), 1):
        pattern = f'{snippet.name}/%06d.png'
        videos.append(dict(id=number, name=snippet.name, length=LENGTH, frame_pattern=pattern))
        for frame in listed:
            image = dict(id=len(images) + 1, video_id=number, frame_id=frame)
            image |= dict(file_name=pattern % frame, width=width, height=height)
            images.append(image | dict(is_labeled=frame == LABELED))
    categories = [dict(id=n, name=name) for n, name in enumerate(CLASS_IDS, 1)]
    content = dict(videos=videos, images=images, annotations=[], categories=categories)
    write_json(content, out / f'{split}.json')
    with atomic_write(out / f'{split}.txt') as file:
        file.writelines(f'snippets/{split}/{snippet.name}\n' for snippet in snippets)
    return dict(snippets=len(snippets), images=len(images))


def find_snippets(root: Path, split: str) -> list[Snippet]:
    """Find the labeled snippets of a split, and check that all of their frames exist."""
    folder = root / 'gtFine' / split
    found = sorted(folder.glob('*/*_gtFine_labelIds.png'))
    if not found:
        raise FileNotFoundError(
            f'{folder}: has no */*_gtFine_labelIds.png; unpack gtFine_trainvaltest.zip into {root}'
        )
    snippets = []
    for labels in found:
        match = _FILE.fullmatch(labels.name)
        if match is None:
            raise ValueError(f'{labels}: is not named CITY_SEQUENCE_FRAME_gtFine_labelIds.png')
        city, sequence, frame = match.groups()
        place, first = root / 'leftImg8bit_sequence' / split / city, int(frame) - LABELED
        frames = [
            place / f'{city}_{sequence}_{first + n:06d}_leftImg8bit.png' for n in range(LENGTH)
        ]
        if missing := [path for path in frames if not path.is_file()]:
            raise FileNotFoundError(
                f'{missing[0]}: does not exist ({len(missing)} of the {LENGTH} frames around '
                f'{labels.name} are missing); unpack leftImg8bit_sequence_trainvaltest.zip '
                'completely'
            )
        snippets.append(Snippet(f'{city}_{sequence}_{frame}', frames, labels))
    return snippets


def training_ids(labels: np.ndarray) -> np.ndarray:
    """Map the numbers of ``labelIds`` files to training ids 0 to 18, or 255 for other classes."""
    table = np.full(256, IGNORED, np.uint8)
    table[list(CLASS_IDS.values())] = range(len(CLASS_IDS))
    return table[labels]


def _convert_snippet(out: Path, split: str, snippet: Snippet) -> tuple[int, int]:
    """Link the frames of a snippet and write its label map; return width and height."""
    with Image.open(snippet.labels) as labels:
        ids = Image.fromarray(training_ids(np.array(labels)))
    with atomic_path(out / 'labels' / split / snippet.name / f'{LABELED:06d}.png') as path:
        ids.save(path)
    folder = out / 'snippets' / split / snippet.name
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(snippet.frames):
        link = folder / f'{number:06d}.png'
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(frame.resolve(), folder.resolve()))
    return ids.size
