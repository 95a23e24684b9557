"""A tiny detector, a tiny video detector and tiny videos on disk."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from tests.tiny import models

CLASSES = ('disc', 'square')
SIZE = (96, 64)  # width, height


def detector_cfg() -> dict:
    """Return a RetinaNet of 8 channels, which detects a lot with random weights."""
    wide = dict(models.anchors([8, 16, 32]), scales=[3], ratios=[1.0])
    detector = models.retinanet(
        8, anchor_generator=wide, bbox_coder=dict(type='DeltaXYWHBBoxCoder')
    )
    preprocessor = dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3)
    test_cfg = dict(nms_pre=60, min_bbox_size=0, score_thr=0.3, max_per_img=12)
    return dict(
        detector,
        data_preprocessor=dict(preprocessor, pad_size_divisor=32),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=dict(test_cfg, nms=dict(type='nms', iou_threshold=0.5)),
    )


def video_detector_cfg(temporal: bool = True) -> dict:
    """Return a video detector with this detector and a flow network of 1/16 width."""
    detector = detector_cfg()
    network = dict(type='FlowNetS', width=1 / 16, flow_scale=50.0)
    return dict(
        type='VideoDetector',
        data_preprocessor=dict(detector.pop('data_preprocessor'), type='VideoDataPreprocessor'),
        detector=detector,
        temporal=models.temporal(8, (8, 16, 32), flow_network=network) if temporal else None,
    )


def build(cfg: dict, seed: int = 0) -> torch.nn.Module:
    """Build a model with reproducible random weights, in eval mode."""
    return models.build(cfg, seed, init=False)


def frame(video: int, index: int) -> np.ndarray:
    """Return a frame of a video: (64, 96, 3) uint8, texture and a moving rectangle."""
    image = np.random.default_rng(video).integers(0, 80, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    x, y = 4 + (5 + video) * index % 60, 10 + 2 * video
    image[y : y + 24, x : x + 24] = np.array([230, 180, 20 * video])
    return image


def batch(video: int, index: int, length: int = 100) -> dict:
    """Return a collated test batch of one frame."""
    sample = DetDataSample(
        metainfo=dict(
            img_id=1000 * video + index,
            img_path=f'{video}/{index}.png',
            ori_shape=(SIZE[1], SIZE[0]),
            img_shape=(SIZE[1], SIZE[0]),
            scale_factor=(1.0, 1.0),
            video_id=video,
            frame_id=index,
            video_name=f'video{video}',
            video_length=length,
        )
    )
    inputs = torch.from_numpy(frame(video, index)).permute(2, 0, 1).contiguous()
    return dict(inputs=[inputs], data_samples=[sample])


def write_videos(folder: Path, lengths: tuple[int, ...]) -> Path:
    """Write frames and a COCO-VID json with paths relative to ``folder``; return its path."""
    content = dict(
        videos=[], images=[], annotations=[],
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)],
    )  # fmt: skip
    for video, length in enumerate(lengths):
        content['videos'].append(dict(id=video, name=f'clips/v{video}'))
        for index in range(length):
            name = f'v{video}_{index:03d}.png'
            cv2.imwrite(str(folder / name), frame(video, index))
            image = dict(
                id=len(content['images']), file_name=name, width=SIZE[0], height=SIZE[1],
                video_id=video, frame_id=index,
            )  # fmt: skip
            x, y = 4 + (5 + video) * index % 60, 10 + 2 * video
            content['images'].append(image)
            content['annotations'].append(
                dict(
                    id=len(content['annotations']),
                    image_id=image['id'],
                    category_id=2,
                    bbox=[x, y, 24, 24],
                    area=576,
                    iscrowd=0,
                    instance_id=0,
                )  # fmt: skip
            )
    (folder / 'val.json').write_text(json.dumps(content))
    return folder / 'val.json'


def test_settings(ann_file: Path, work_dir: Path, **test_cfg) -> dict:
    """Return a config that tests the tiny video detector on the videos of ``write_videos``."""
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=SIZE, keep_ratio=True),
        dict(type='PackVideoFrame'),
    ]
    dataset = dict(
        type='CocoVIDDataset', ann_file=str(ann_file), test_mode=True, pipeline=pipeline,
        data_prefix=dict(img=str(ann_file.parent)),
    )  # fmt: skip
    return dict(
        default_scope='mmdet',
        custom_imports=dict(imports=['semidff.registry']),
        work_dir=str(work_dir),
        model=video_detector_cfg(),
        test_dataloader=dict(
            batch_size=1, num_workers=0, sampler=dict(type='VideoSampler'), dataset=dataset
        ),
        test_evaluator=[dict(type='VIDMetric', ann_file=str(ann_file))],
        test_cfg=dict(dict(type='VideoTestLoop', method='propagate', key_interval=4), **test_cfg),
        model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=5)),
    )


test_settings.__test__ = False  # Not a test, despite its name.


def write_project(folder: Path, lengths: tuple[int, ...]) -> Config:
    """Write videos, ``config.py`` for tests of the video detector, and its weights ``two.pth``."""
    config = Config(test_settings(write_videos(folder, lengths), folder / 'work'))
    config.dump(folder / 'config.py')
    state = build(config.model, seed=3).state_dict()
    torch.save(dict(state_dict=state, meta=dict(cfg=config.pretty_text)), folder / 'two.pth')
    return config


def write_detector(folder: Path) -> torch.nn.Module:
    """Write ``detector.py``, a config with test data, and its weights; return the detector."""
    pipeline = test_settings(folder / 'a.json', folder)['test_dataloader']['dataset']['pipeline']
    data = dict(dataset=dict(type='CocoDataset', pipeline=pipeline))
    Config(dict(model=detector_cfg(), test_dataloader=data)).dump(folder / 'detector.py')
    detector = build(detector_cfg(), seed=7)
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=detector.state_dict(), meta=meta), folder / 'one.pth')
    return detector
