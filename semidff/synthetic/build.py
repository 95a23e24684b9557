"""Generated data set on disk: the items of each part, in several processes, and its index."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from semidff.utils.atomic_write import read_json, write_json
from semidff.utils.command_line import Count
from semidff.utils.progress import track
from semidff.utils.run_folder import occupy
from semidff.utils.video_writer import VideoWriter
from semidff.utils.worker_pool import pool_map

from .chairs import make_chairs, true_flow
from .clip import TrueBox, make_clip, true_boxes
from .objects import CLASSES, SEGMENTATION_CLASSES
from .presets import VERSION, DatasetSpec, make_spec
from .render import Clip, render

MANIFEST = 'world.json'
_VIDEO_FPS = 25


class Item(NamedTuple):
    """One item of a part."""

    folder: Path
    spec: DatasetSpec
    split: str
    index: int
    seed: np.random.SeedSequence


def make_synthetic(
    root: str,
    *,
    preset: Literal['quickstart', 'long', 'tiny'] = 'quickstart',
    workers: Count = 2,
    **changes: DatasetSpec,
) -> str:
    """Write the generated data set of the quick start, or its missing parts, into a folder.

    Args:
        root: Folder of the data set.
        preset: Initial sizes (default: quickstart, as those of the following options).
        workers: Processes.
    """
    parts = build_dataset(root, make_spec(preset, **changes), workers)['parts']
    return '\n'.join(f'{name} {part}' for name, part in parts.items())


def build_dataset(root: str | Path, spec: DatasetSpec, workers: int = 1) -> dict:
    """Write a data set, or what an interrupted call left out, into a folder.

    A data set with another ``spec`` is replaced. The manifest ``world.json`` names the finished
    parts.

    Args:
        workers: Number of processes. The result does not depend on it.

    Returns:
        The manifest.
    """
    root, wanted = Path(root), [part for part in PARTS if spec.count(part.name)]
    manifest = read_json(root / MANIFEST) if (root / MANIFEST).exists() else None
    known = manifest or {}
    fixed = {'version': VERSION, 'spec': asdict(spec), 'classes': list(CLASSES)}
    done = known.get('parts', {}) if all(known.get(k) == v for k, v in fixed.items()) else {}
    for part in wanted:
        if not all((root / output).exists() for output in part.outputs):
            done.pop(part.name, None)
    if len(done) == len(wanted):
        print(f'{root}: the data set is there already ({", ".join(done)})')
        return known
    with occupy(root, 'make_synthetic', 'folder'):
        for path in (root / o for part in PARTS if part.name not in done for o in part.outputs):
            if path.exists() and manifest is None:
                raise FileExistsError(
                    f'{path} exists, but {root} has no {MANIFEST}: this is not a folder of a '
                    'generated data set'
                )
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        manifest = {**fixed, 'parts': done}
        for part in wanted:
            if part.name not in done:
                write_json(manifest, root / MANIFEST)
                done[part.name] = _build_part(root, spec, part, workers)
        manifest['parts'] = {part.name: done[part.name] for part in wanted}
        write_json(manifest, root / MANIFEST)
    return manifest


def _build_part(root: Path, spec: DatasetSpec, part: 'Part', workers: int) -> dict:
    """Write a part; return its entry in the manifest."""
    start, count = time.monotonic(), spec.count(part.name)
    if '.' not in part.outputs[0]:
        (root / part.outputs[0]).mkdir()
    folder, split = root / part.name, part.split
    items = (Item(folder, spec, split, i, part.seed(spec, i)) for i in range(count))
    results = pool_map(part.make, items, workers)
    records = list(track(results, part.name, count, 'items'))
    summary = part.write_index(root, spec, split, records)
    seconds = time.monotonic() - start
    print(f'{part.name}: {count} items in {seconds:.1f} s -> {root}', flush=True)
    return summary


def _save(path: Path, picture: np.ndarray) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == '.jpg' else []
    if not cv2.imwrite(str(path), picture, quality):
        raise OSError(f'cannot write {path}: is the disk full?')


def _labeled_clip(item: Item) -> tuple[Clip, list[Path]]:
    """Return a clip and the paths of its frames without suffix; a still is its first frame."""
    spec, index = item.spec, item.index
    if item.split == 'stills':
        # Two frames give the first one its motion blur.
        return make_clip(item.seed, spec.size, 2), [item.folder / f'{index:06d}']
    clip = make_clip(item.seed, spec.size, spec.length(item.split), spec.motion)
    folder = item.folder / f'{index:03d}'
    folder.mkdir()
    return clip, [folder / f'{frame:06d}' for frame in range(len(clip))]


def _make_labeled(item: Item) -> list[list[TrueBox]]:
    """Write the frames of a labeled video, or a still; return the boxes of each frame."""
    clip, paths = _labeled_clip(item)
    record = []
    for frame, path in enumerate(paths):
        rendered = render(clip, frame)
        _save(path.with_suffix('.jpg'), rendered.image)
        record.append(true_boxes(clip, rendered))
    return record


def _index_stills(root: Path, spec: DatasetSpec, split: str, records: list) -> dict:
    images = [_image(spec, i + 1, f'{i:06d}.jpg') for i in range(len(records))]
    annotations = [_annotation(i + 1, box) for i, (boxes,) in enumerate(records) for box in boxes]
    write_json(_coco(images, annotations), root / 'stills.json')
    return {'images': len(images), 'boxes': len(annotations)}


def _index_labeled_videos(root: Path, spec: DatasetSpec, split: str, records: list) -> dict:
    videos, images, annotations, tracks = [], [], [], {}
    for index, frames in enumerate(records):
        name = f'{index:03d}'
        videos.append({'id': index + 1, 'name': name, 'width': spec.width, 'height': spec.height})
        for frame, boxes in enumerate(frames):
            image = _image(spec, len(images) + 1, f'{name}/{frame:06d}.jpg')
            images.append({**image, 'video_id': index + 1, 'frame_id': frame})
            # Sparse labels, like the 15 frames per snippet of ImageNet VID.
            labeled = spec.is_labeled(split, frame)
            if not labeled:
                images[-1]['is_labeled'] = False
            for box in boxes:
                track_id = tracks.setdefault((index, box.layer), len(tracks) + 1)
                if labeled:
                    annotations.append({**_annotation(image['id'], box), 'instance_id': track_id})
    write_json({'videos': videos, **_coco(images, annotations)}, root / f'{split}.json')
    return {'videos': len(videos), 'images': len(images), 'boxes': len(annotations)}


def _make_label_maps(item: Item) -> None:
    """Write the label maps of a labeled video or a still: 0 background, n the n-th object class."""
    clip, paths = _labeled_clip(item)
    classes = np.array([0, *(layer.label + 1 for layer in clip.layers)], np.uint8)
    for frame, path in enumerate(paths):
        if item.spec.is_labeled(item.split, frame):
            _save(path.with_suffix('.png'), classes[render(clip, frame).owner + 1])


def _index_label_maps(root: Path, spec: DatasetSpec, split: str, records: list) -> dict:
    """Write the json for segmentation: no boxes, and the background as a class."""
    content = json.loads((root / f'{split}.json').read_text())
    content |= {'annotations': [], 'categories': _categories(SEGMENTATION_CLASSES)}
    write_json(content, root / f'{split}_labels.json')
    return {'label_maps': sum(image.get('is_labeled', True) for image in content['images'])}


def _make_video(item: Item) -> None:
    spec, index = item.spec, item.index
    clip = make_clip(item.seed, spec.size, spec.video_length, spec.motion)
    with VideoWriter(item.folder / f'{index:04d}.mp4', _VIDEO_FPS) as writer:
        for frame in range(len(clip)):
            writer.write(render(clip, frame).image)


def _index_videos(root: Path, spec: DatasetSpec, split: str, records: list) -> dict:
    lines = [f'videos/{index:04d}.mp4\n' for index in range(len(records))]
    (root / 'videos.txt').write_text(''.join(lines))
    return {'videos': len(records), 'frames': len(records) * spec.video_length}


def _make_pair(item: Item) -> float:
    """Write a pair with its flow; return the mean length of the flow in pixels."""
    clip = make_chairs(item.seed, item.spec.size)
    first, second = render(clip, 0), render(clip, 1)
    flow, _ = true_flow(clip, first.owner, second.owner, 0, 1)
    stem = item.folder / f'{item.index + 1:05d}'  # Flying Chairs counts from 1.
    _save(Path(f'{stem}_img1.ppm'), first.image)
    _save(Path(f'{stem}_img2.ppm'), second.image)
    if not cv2.writeOpticalFlow(f'{stem}_flow.flo', flow):
        raise OSError(f'cannot write {stem}_flow.flo: is the disk full?')
    return float(np.linalg.norm(flow, axis=-1).mean())


def _index_pairs(root: Path, spec: DatasetSpec, split: str, records: list[float]) -> dict:
    """Write split.txt like FlyingChairs_train_val.txt: a line per pair, 1 = training, 2 = val."""
    lines = ['2\n' if index % 20 == 19 else '1\n' for index in range(len(records))]
    (root / 'flow' / 'split.txt').write_text(''.join(lines))
    return {'pairs': len(records), 'mean_flow': round(float(np.mean(records)), 3)}


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


@dataclass(frozen=True)
class Part:
    """One part of a data set.

    Attributes:
        name: Name of the part and, unless it is one file, of its folder. `DatasetSpec.count` has
            its number of items.
        stream: Number of its random stream.
        outputs: Its files and folders, relative to the root; the folder first.
        make: Item -> record; writes the item.
        write_index: (root, spec, split, records) -> summary for the manifest.
    """

    name: str
    stream: int
    outputs: tuple[str, ...]
    make: Callable[[Item], object]
    write_index: Callable

    @property
    def split(self) -> str:
        """Name of the part whose clips it draws, without _labels."""
        return self.name.removesuffix('_labels')

    def seed(self, spec: DatasetSpec, index: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(spec.seed, spawn_key=(self.stream, index))


PARTS = (
    Part('stills', 0, ('stills', 'stills.json'), _make_labeled, _index_stills),
    Part('videos', 1, ('videos', 'videos.txt'), _make_video, _index_videos),
    Part('val', 2, ('val', 'val.json'), _make_labeled, _index_labeled_videos),
    Part('dev', 3, ('dev', 'dev.json'), _make_labeled, _index_labeled_videos),
    Part('train', 6, ('train', 'train.json'), _make_labeled, _index_labeled_videos),
    Part('flow', 4, ('flow',), _make_pair, _index_pairs),
)
PARTS += tuple(
    Part(
        f'{part.name}_labels',
        part.stream,
        (f'{part.name}_labels', f'{part.name}_labels.json'),
        _make_label_maps,
        _index_label_maps,
    )
    for part in PARTS
    if part.make is _make_labeled
)
