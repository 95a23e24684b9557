"""Parts of a generated data set: generation and writing of their items and indices."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from semidff.utils.atomic_write import write_json
from semidff.utils.video_writer import VideoWriter

from .chairs import make_chairs
from .clip import TrueBox, make_clip, make_crop, true_boxes
from .presets import DatasetSpec
from .render import render, true_flow, write_flow
from .sprites import CLASSES, CROP_CLASSES, SEGMENTATION_CLASSES

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 92]
_VIDEO_FPS = 25


@dataclass(frozen=True)
class Part:
    """One part of a data set.

    Attributes:
        name: Name of the part; `DatasetSpec.count` has its number of items.
        stream: Number of its random stream.
        outputs: Its files and folders, relative to the root.
        fields: Further `DatasetSpec` fields that it depends on.
        files: Number of its files, to detect damage.
        make: (root, spec, index, seed) -> record; writes item `index`.
        finish: (root, spec, records) -> summary for the manifest; writes the index of the part.
    """

    name: str
    stream: int
    outputs: tuple[str, ...]
    fields: tuple[str, ...]
    files: Callable[[DatasetSpec], int]
    make: Callable
    finish: Callable

    def seed(self, spec: DatasetSpec, index: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(spec.seed, spawn_key=(self.stream, index))


def save(path: Path, picture: np.ndarray) -> None:
    if not cv2.imwrite(str(path), picture, _QUALITY if path.suffix == '.jpg' else []):
        raise OSError(f'cannot write {path}: is the disk full?')


def pace_of(index: int) -> str:
    """Return the pace of a clip; slow and fast clips alternate."""
    return 'fast' if index % 2 else 'slow'


def make_still(
    root: Path, spec: DatasetSpec, index: int, seed: np.random.SeedSequence
) -> list[TrueBox]:
    clip = make_clip(seed, spec.size, 1, 'fast')
    picture, owner = render(clip, 0)
    save(root / 'stills' / f'{index:06d}.jpg', picture)
    return true_boxes(clip, 0, owner)


def finish_stills(root: Path, spec: DatasetSpec, records: list[list[TrueBox]]) -> dict:
    images = [_image(spec, i + 1, f'{i:06d}.jpg') for i in range(len(records))]
    annotations = [(i + 1, box) for i, boxes in enumerate(records) for box in boxes]
    write_json(_coco(images, [_annotation(*a) for a in annotations]), root / 'stills.json')
    return {'images': len(images), 'boxes': len(annotations)}


def make_video(root: Path, spec: DatasetSpec, index: int, seed: np.random.SeedSequence) -> None:
    clip = make_clip(seed, spec.size, spec.video_length, pace_of(index), spec.motion)
    with VideoWriter(root / 'videos' / f'{index:04d}.mp4', _VIDEO_FPS) as writer:
        for frame in range(len(clip)):
            writer.write(render(clip, frame)[0])


def finish_videos(root: Path, spec: DatasetSpec, records: list) -> dict:
    lines = [f'videos/{index:04d}.mp4\n' for index in range(len(records))]
    (root / 'videos.txt').write_text(''.join(lines))
    return {'videos': len(records), 'frames': len(records) * spec.video_length}


def make_labeled_video(
    root: Path, spec: DatasetSpec, index: int, seed: np.random.SeedSequence, split: str
) -> list[list[TrueBox]]:
    """Write the frames of one labeled video; return the boxes of each frame."""
    length = spec.train_length if split == 'train' else spec.eval_length
    clip = make_clip(seed, spec.size, length, pace_of(index), spec.motion)
    folder = root / split / clip_name(index)
    folder.mkdir(parents=True)
    record = []
    for frame in range(len(clip)):
        picture, owner = render(clip, frame)
        save(folder / f'{frame:06d}.jpg', picture)
        record.append(true_boxes(clip, frame, owner))
    return record


def clip_name(index: int) -> str:
    return f'{index:03d}_{pace_of(index)}'


def finish_labeled_videos(root: Path, spec: DatasetSpec, records: list, split: str) -> dict:
    videos, images, annotations, tracks = [], [], [], {}
    for index, frames in enumerate(records):
        name = clip_name(index)
        videos.append({'id': index + 1, 'name': name, 'width': spec.width, 'height': spec.height})
        for frame, boxes in enumerate(frames):
            image = _image(spec, len(images) + 1, f'{name}/{frame:06d}.jpg')
            images.append({**image, 'video_id': index + 1, 'frame_id': frame})
            # Sparse labels, like the 15 frames per snippet of ImageNet VID.
            labeled = spec.is_labeled(split, frame)
            if not labeled:
                images[-1]['is_labeled'] = False
            for box in boxes:
                track = tracks.setdefault((index, box.layer), len(tracks) + 1)
                if labeled:
                    annotations.append({**_annotation(image['id'], box), 'instance_id': track})
    write_json({'videos': videos, **_coco(images, annotations)}, root / f'{split}.json')
    return {'videos': len(videos), 'images': len(images), 'boxes': len(annotations)}


def make_label_maps(
    root: Path, spec: DatasetSpec, index: int, seed: np.random.SeedSequence, split: str
) -> None:
    """Write the label maps of one labeled video, or of one still: 0 background, n the n-th object class."""
    if split == 'stills':
        clip, folder, names = make_clip(seed, spec.size, 1, 'fast'), root / 'stills_labels', [index]
    else:
        length = spec.train_length if split == 'train' else spec.eval_length
        clip = make_clip(seed, spec.size, length, pace_of(index), spec.motion)
        folder, names = root / f'{split}_labels' / clip_name(index), range(length)
        folder.mkdir(parents=True)
    classes = np.array([0, *(layer.label + 1 for layer in clip.layers)], np.uint8)
    for frame, name in enumerate(names):
        if spec.is_labeled(split, frame):
            save(folder / f'{name:06d}.png', classes[render(clip, frame)[1] + 1])


def finish_label_maps(root: Path, spec: DatasetSpec, records: list, split: str) -> dict:
    """Write the json for segmentation: that of the detection data set without boxes, with the background as a class."""
    content = json.loads((root / f'{split}.json').read_text())
    content |= {'annotations': [], 'categories': _categories(SEGMENTATION_CLASSES)}
    write_json(content, root / f'{split}_labels.json')
    return {'label_maps': sum(image.get('is_labeled', True) for image in content['images'])}


def make_pair(root: Path, spec: DatasetSpec, index: int, seed: np.random.SeedSequence) -> float:
    """Write one pair; return the mean length of its flow in pixels."""
    clip = make_chairs(seed, spec.size)
    (first, owner), (second, second_owner) = render(clip, 0), render(clip, 1)
    flow, _ = true_flow(clip, owner, second_owner, 0, 1)
    stem = f'{index + 1:05d}'  # Flying Chairs counts from 1.
    save(root / 'flow' / f'{stem}_img1.ppm', first)
    save(root / 'flow' / f'{stem}_img2.ppm', second)
    write_flow(root / 'flow' / f'{stem}_flow.flo', flow)
    return float(np.linalg.norm(flow, axis=-1).mean())


def finish_pairs(root: Path, spec: DatasetSpec, records: list[float]) -> dict:
    """Write split.txt like FlyingChairs_train_val.txt: one line per pair, 1 = training, 2 = val."""
    lines = ['2\n' if index % 20 == 19 else '1\n' for index in range(len(records))]
    (root / 'flow' / 'split.txt').write_text(''.join(lines))
    return {'pairs': len(records), 'mean_flow': round(float(np.mean(records)), 3)}


def finish_crops(root: Path, spec: DatasetSpec, records: list[np.ndarray]) -> dict:
    """Write crops.npz: `images` (N, H, W, 3) uint8 BGR, `labels` (N,) int64, `classes`."""
    labels = np.arange(len(records)) % len(CROP_CLASSES)
    np.savez(
        root / 'crops.npz', images=np.stack(records), labels=labels, classes=np.array(CROP_CLASSES)
    )
    return {'crops': len(records), 'classes': len(CROP_CLASSES)}


def _image(spec: DatasetSpec, image_id: int, name: str) -> dict:
    return {'id': image_id, 'file_name': name, 'width': spec.width, 'height': spec.height}


def _annotation(image_id: int, box: TrueBox) -> dict:
    x1, y1, x2, y2 = box.box
    bbox = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
    return {
        'image_id': image_id,
        'category_id': box.label + 1,
        'bbox': bbox,
        'area': round(bbox[2] * bbox[3], 2),
        'iscrowd': 0,
        'visible': round(box.visible, 3),
    }


def _coco(images: list[dict], annotations: list[dict]) -> dict:
    numbered = [{'id': i + 1, **annotation} for i, annotation in enumerate(annotations)]
    return {'images': images, 'annotations': numbered, 'categories': _categories(CLASSES)}


def _categories(names: Sequence[str]) -> list[dict]:
    return [{'id': i + 1, 'name': name} for i, name in enumerate(names)]


def _labeled(split: str) -> tuple[Callable, Callable]:
    return partial(make_labeled_video, split=split), partial(finish_labeled_videos, split=split)


def _label_maps(part: Part) -> Part:
    """Return the part with the label maps of a part; it draws the same clips again."""
    split = part.name

    def files(spec: DatasetSpec) -> int:
        if split == 'stills':
            return spec.stills + 1
        length = spec.train_length if split == 'train' else spec.eval_length
        return spec.count(split) * sum(spec.is_labeled(split, frame) for frame in range(length)) + 1

    return Part(
        f'{split}_labels',
        part.stream,
        (f'{split}_labels', f'{split}_labels.json'),
        part.fields,
        files,
        partial(make_label_maps, split=split),
        partial(finish_label_maps, split=split),
    )


PARTS = (
    Part('stills', 0, ('stills', 'stills.json'), (), lambda s: s.stills + 1,
         make_still, finish_stills),
    Part('videos', 1, ('videos', 'videos.txt'), ('video_length', 'motion'), lambda s: s.videos + 1,
         make_video, finish_videos),
    Part('val', 2, ('val', 'val.json'), ('eval_length', 'motion'),
         lambda s: s.val * s.eval_length + 1, *_labeled('val')),
    Part('dev', 3, ('dev', 'dev.json'), ('eval_length', 'motion'),
         lambda s: s.dev * s.eval_length + 1, *_labeled('dev')),
    Part('train', 6, ('train', 'train.json'), ('train_length', 'label_every', 'motion'),
         lambda s: s.train * s.train_length + 1, *_labeled('train')),
    Part('flow', 4, ('flow',), (), lambda s: 3 * s.flow + 1, make_pair, finish_pairs),
    Part('crops', 5, ('crops.npz',), ('crop_size',), lambda s: 1,
         lambda root, spec, index, seed: make_crop(seed, spec.crop_size, index % len(CROP_CLASSES)),
         finish_crops),
)  # fmt: skip
PARTS += tuple(
    _label_maps(part) for part in PARTS if part.name in ('stills', 'val', 'dev', 'train')
)
