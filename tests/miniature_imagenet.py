"""A miniature ImageNet DET and VID in the layout of ILSVRC2015, and configs reduced to its size."""

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config, ConfigDict

from semidff.converters.ilsvrc.to_coco import convert_det, convert_vid

WIDTH, HEIGHT, FRAMES = 144, 96, 4
DOG, CAR = 'n02084071', 'n02958343'
SIDES = ('xmin', 'ymin', 'xmax', 'ymax')


def write_imagenet(root: Path) -> None:
    """Write images, annotations and lists; then convert them as docs/imagenet.md says."""
    lists, json = root / 'ImageSets', root / 'annotations'
    lists.mkdir(parents=True)
    snippets = {part: [f'{part}/{name}' for name in 'ab'] for part in ('train', 'val')}
    for part, videos in snippets.items():
        for number, video in enumerate(videos):
            for frame in range(FRAMES):
                write_image(root, f'VID/{video}/{frame:06d}', number, 4 * frame)
        listed = [f'{video} {1 + FRAMES * i} 0 {FRAMES}\n' for i, video in enumerate(videos)]
        (lists / f'VID_{part}_videos.txt').write_text(''.join(listed))
    (root / 'vid_train_snippets.txt').write_text('Data/VID/train/*\n')
    frames = [f'{video} 1 {frame} {FRAMES}\n' for video in snippets['train'] for frame in (0, 3)]
    (lists / 'VID_train_15frames.txt').write_text(''.join(frames))
    for i in range(3):
        write_image(root, f'DET/train/{i}', i, 0)
    (lists / 'DET_train_30classes.txt').write_text('train/0 1\ntrain/1 1\ntrain/2 1\n')
    xml = root / 'Annotations'
    train, val = (f'imagenet_vid_{part}.json' for part in ('train_15frames', 'val'))
    convert_vid(xml / 'VID', lists / 'VID_train_15frames.txt', json / train, workers=1)
    convert_vid(xml / 'VID', lists / 'VID_val_videos.txt', json / val, workers=1)
    convert_det(
        xml / 'DET',
        lists / 'DET_train_30classes.txt',
        json / 'imagenet_det_train_30classes.json',
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


def shrink(cfg: Config, work_dir: Path) -> Config:
    """Reduce networks, anchors, images, iterations and processes; start from random weights."""
    for part in parts(cfg):
        if str(part.get('type')).endswith('Resize'):
            part.scale = (WIDTH, HEIGHT)
        if part.get('type') == 'ResNet':
            part.update(depth=50, base_channels=4, init_cfg=None)
        if 'scales' in part and str(part.type).endswith('AnchorGenerator'):
            part.scales = [1, 2, 4]
        if part.get('type') == 'RFCNNeck':
            part.in_channels = 128
        if part.get('type') == 'FlowNetS':
            part.width = part.get('width', 1) / 16
        if 'num_workers' in part:
            part.update(num_workers=0, persistent_workers=False)
        if 'iters' in part:
            part.iters = 2
        if part.get('batch_size', 0) > 4:  # of one-stage detectors
            part.batch_size = 1
    if 'max_iters' in (cfg.train_cfg or {}):
        cfg.train_cfg.max_iters = 2
    cfg.test_evaluator.class_mean = 'present'  # 2 of the 30 classes
    cfg.load_parts = None
    cfg.vis_backends[:] = cfg.visualizer.vis_backends[:] = [dict(type='LocalVisBackend')]
    cfg.update(work_dir=str(work_dir), experiment_name=work_dir.name, log_level='WARNING')
    return cfg


def parts(value: object) -> list[ConfigDict]:
    """Return all dicts of a config."""
    inner = value if isinstance(value, list | tuple) else ()
    if isinstance(value, Config | ConfigDict):
        inner = [item for _, item in value.items()]
    found = [value] if isinstance(value, ConfigDict) else []
    return found + [part for item in inner for part in parts(item)]
