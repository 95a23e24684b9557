"""Miniatures of the data sets of configs/ in their layouts, and configs reduced to their size."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config, ConfigDict

from semidff.converters.ilsvrc import convert_det, convert_vid
from semidff.synthetic.build import build_dataset
from semidff.synthetic.presets import make_spec

WIDTH, HEIGHT, FRAMES = 144, 96, 4
DARKNET = (1, 1, 1, 1, 1), ((32, 4), (4, 8), (8, 16), (16, 32), (32, 64))
"""Layers and channels of Darknet-53's stages, which no config of mmdetection can change."""
DOG, CAR = 'n02084071', 'n02958343'
CITYSCAPES_SIZE = 32, 64
SNIPPETS = dict(train=[('aachen', 0, 19), ('bochum', 0, 313)], val=[('ulm', 3, 19)])
SIDES = ('xmin', 'ymin', 'xmax', 'ymax')


def write_imagenet(root: Path) -> None:
    """Write images, annotations and lists; then convert them as docs/imagenet.md says."""
    lists, out = root / 'ImageSets', root / 'annotations'
    lists.mkdir(parents=True)
    snippets = {part: [f'{part}/{name}' for name in 'ab'] for part in ('train', 'val')}
    for part, videos in snippets.items():
        for number, video in enumerate(videos):
            for frame in range(FRAMES):
                write_image(root, f'VID/{video}/{frame:06d}', number, 4 * frame)
        listed = [f'{video} {1 + FRAMES * i} 0 {FRAMES}\n' for i, video in enumerate(videos)]
        (lists / f'VID_{part}_videos.txt').write_text(''.join(listed))
    (root / 'vid_train_snippets.txt').write_text('Data/VID/train/*\n')
    (root.parent / 'videos.txt').write_text(f'{root.name}/Data/VID/train/*\n')
    frames = [f'{video} 1 {frame} {FRAMES}\n' for video in snippets['train'] for frame in (0, 3)]
    (lists / 'VID_train_15frames.txt').write_text(''.join(frames))
    for i in range(3):
        write_image(root, f'DET/train/{i}', i, 0)
    (lists / 'DET_train_30classes.txt').write_text('train/0 1\ntrain/1 1\ntrain/2 1\n')
    xml = root / 'Annotations'
    train, val = (f'imagenet_vid_{part}.json' for part in ('train_15frames', 'val'))
    convert_vid(xml / 'VID', lists / 'VID_train_15frames.txt', out / train, workers=1)
    convert_vid(xml / 'VID', lists / 'VID_val_videos.txt', out / val, workers=1)
    convert_det(
        xml / 'DET',
        lists / 'DET_train_30classes.txt',
        out / 'imagenet_det_train_30classes.json',
        workers=1,
    )


def write_image(root: Path, name: str, kind: int, shift: int) -> None:
    """Write a rectangle that has moved by some pixels, and its annotation."""
    x1, y1, x2, y2 = box = (10 + shift, 20, 80 + shift, 75)
    picture = np.random.default_rng(kind).integers(0, 80, (HEIGHT, WIDTH, 3), np.uint8)
    picture[y1:y2, x1:x2] += 150
    for folder, suffix in (('Data', '.JPEG'), ('Annotations', '.xml')):
        (root / folder / name).with_suffix(suffix).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / 'Data' / f'{name}.JPEG'), picture)
    sides = ''.join(f'<{side}>{value}</{side}>' for side, value in zip(SIDES, box, strict=True))
    (root / 'Annotations' / f'{name}.xml').write_text(
        f'<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>'
        f'<object><trackid>0</trackid><name>{(DOG, CAR)[kind % 2]}</name><bndbox>{sides}</bndbox>'
        '<occluded>0</occluded><generated>0</generated></object></annotation>'
    )


def write_cityscapes(root: Path) -> None:
    """Write frames and label maps of three snippets."""
    rng = np.random.default_rng(0)
    for split, snippets in SNIPPETS.items():
        for city, sequence, frame in snippets:
            folder = root / 'leftImg8bit_sequence' / split / city
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(frame - 19, frame + 11):
                picture = rng.integers(0, 256, (*CITYSCAPES_SIZE, 3), np.uint8)
                name = f'{city}_{sequence:06d}_{number:06d}_leftImg8bit.png'
                cv2.imwrite(str(folder / name), picture)
            labels = rng.integers(0, 34, CITYSCAPES_SIZE, np.uint8)
            labels[0, 0] = 255  # a license plate
            write_labels(root, split, city, sequence, frame, labels)


def write_labels(
    root: Path, split: str, city: str, sequence: int, frame: int, labels: np.ndarray
) -> Path:
    """Write a label map of Cityscapes and return its file."""
    folder = root / 'gtFine' / split / city
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{city}_{sequence:06d}_{frame:06d}_gtFine_labelIds.png'
    cv2.imwrite(str(path), labels)
    return path


def write_generated(root: Path) -> None:
    """Write the generated data set, and its parts where other configs expect their data."""
    dataset = root / 'work_dirs/quickstart/dataset'
    build_dataset(dataset, make_spec('tiny', label_maps=1), workers=1)
    chairs, person = root / 'data/FlyingChairs_release', root / 'data/person'
    for split in (dataset / 'flow/split.txt', chairs / 'FlyingChairs_train_val.txt'):
        split.parent.mkdir(parents=True, exist_ok=True)
        split.write_text('1\n1\n2\n2\n')  # training, validation
    shutil.copytree(dataset / 'flow', chairs / 'data')
    shutil.copytree(dataset / 'flow', root / 'data/synthetic_flow/flow')
    shutil.copytree(dataset / 'stills', person / 'images')
    shutil.copytree(dataset / 'val', person / 'val')
    for source, target in (('stills.json', 'train.json'), ('val.json', 'val/val.json')):
        content = json.loads((dataset / source).read_text())
        content['categories'] = [dict(c, name='person') for c in content['categories'][:1]]
        only = content['categories'][0]['id']
        content['annotations'] = [dict(a, category_id=only) for a in content['annotations']]
        (person / target).write_text(json.dumps(content))
    videos = sorted((dataset / 'videos').glob('*.mp4'))
    (person / 'unlabeled.txt').write_text(''.join(f'{video}\n' for video in videos))


def shrink(cfg: Config, work_dir: Path) -> Config:
    """Reduce networks, anchors, images, iterations and processes; start from random weights."""
    large = 'work_dirs/quickstart' not in cfg.get('data_root', '')
    split = cfg.model.get('split', {}).get('type') == 'ResNetSplit'
    batch_size = 1 if 'ssd300' in work_dir.name else 2
    for part in parts(cfg):
        kind = str(part.get('type')).split('.')[-1]
        if large:
            shrink_network(part, kind, split)
        if kind == 'RandomChoiceResize':
            part.scales = [(WIDTH, HEIGHT)]
        elif kind == 'RandomResize':
            part.scale = [(HEIGHT, HEIGHT), (WIDTH, WIDTH)]
        elif kind.endswith('Resize') and large and part.scale != (300, 300):  # SSD's
            part.scale = (WIDTH, HEIGHT)
        if 'crop_size' in part and kind.startswith('Random'):
            part.crop_size = (HEIGHT, 128)
        if (part.get('init_cfg') or {}).get('type') == 'Pretrained':
            part.init_cfg = None
        if 'num_workers' in part:
            part.update(num_workers=0, persistent_workers=False)
        if 'iters' in part:
            part.iters = 2
        if 'accumulate' in part:
            part.accumulate = 2
        if part.get('batch_size', 0) > batch_size:
            part.batch_size = batch_size
    if 'max_iters' in (cfg.train_cfg or {}):
        cfg.train_cfg.max_iters = 2
    if (cfg.test_evaluator or {}).get('type') == 'VIDMetric':
        cfg.test_evaluator.class_mean = 'present'  # 2 of the 30 classes
    cfg.load_parts = None
    cfg.vis_backends[:] = cfg.visualizer.vis_backends[:] = [dict(type='LocalVisBackend')]
    cfg.update(work_dir=str(work_dir), experiment_name=work_dir.name, log_level='WARNING')
    return cfg


def shrink_network(part: ConfigDict, kind: str, deep: bool) -> None:
    """Reduce a part of a network of full size; all of its layers stay if ``deep``."""
    if kind == 'ResNet' and part.depth > 18:
        part.update(depth=part.depth if deep else 50, base_channels=4, init_cfg=None)
    if kind in ('SSDVGG', 'Darknet'):
        part.init_cfg = dict(type='Normal', layer='Conv2d', std=0.01)
    if kind in ('YOLOV3Neck', 'YOLOV3Head'):
        for name in ('in_channels', 'out_channels'):
            part[name] = [channels // 16 for channels in part[name]]
    if kind == 'SSDVGG':
        part.update(depth=11, out_feature_indices=(14, 24))
    if kind == 'RFCNNeck' and part.in_channels == 2048:
        part.in_channels = 128
    if kind == 'FPN' and part.in_channels[-1] == 2048:
        part.in_channels = [16, 32, 64, 128]
    if kind == 'FlowNetS':
        part.width = part.get('width', 1) / 16
    if 'scales' in part and kind.endswith('AnchorGenerator'):
        part.scales = [1, 2, 4]


def parts(value: object) -> list[ConfigDict]:
    """Return all dicts of a config."""
    inner = value if isinstance(value, list | tuple) else ()
    if isinstance(value, Config | ConfigDict):
        inner = [item for _, item in value.items()]
    found = [value] if isinstance(value, ConfigDict) else []
    return found + [part for item in inner for part in parts(item)]
