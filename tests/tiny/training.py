"""A tiny stage two from end to end: videos, a config of two steps, and runs of it."""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from semidff.engine.steps import runs
from tests.tiny.models import SIZE, video_config

ITERS = (3, 3)
STEPS = [
    dict(
        name='regression',
        iters=ITERS[0],
        objectives=[dict(type='FeatureRegression')],
        trainable=['temporal'],
    ),
    dict(
        name='semantic',
        iters=ITERS[1],
        objectives=[dict(type='FeatureSemantics')],
        trainable=['temporal', 'task_network'],
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-3)),
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=3)],
    ),
]


def write_videos(folder: Path, videos: int = 2, length: int = 12) -> Path:
    """Folders of frames of a shifting texture, and their list."""
    generator = np.random.default_rng(0)
    height, width = SIZE
    for video in range(videos):
        coarse = generator.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        texture = cv2.resize(coarse, (width + 3 * length, height + length))
        clip = folder / f'clip{video}'
        clip.mkdir(parents=True)
        for i in range(length):
            cv2.imwrite(str(clip / f'{i:04d}.png'), texture[i : i + height, 3 * i : 3 * i + width])
    path = folder / 'videos.txt'
    path.write_text('\n'.join(f'clip{video}' for video in range(videos)) + '\n')
    return path


def config(
    videos: Path, work_dir: Path, steps: list | None = None, batch_size: int = 2, **changes
) -> Config:
    """Config of a tiny stage two that saves every iteration."""
    pairs = dict(
        type='UnlabeledVideoDataset',
        ann_file=str(videos),
        interval=dict(type='UniformInterval', low=0, high=3),
        window=6,
        pairs_per_window=2,
        interleave=2,
        pipeline=[dict(type='PackFramePair')],
    )
    settings = dict(
        default_scope='mmdet',
        custom_imports=dict(imports=['semidff.registry'], allow_failed_imports=False),
        model=video_config(),
        train_dataloader=dict(
            batch_size=batch_size,
            num_workers=0,
            sampler=dict(type='StreamSampler'),
            collate_fn=dict(type='pseudo_collate'),
            dataset=dict(type='SampleStream', dataset=pairs),
        ),
        train_cfg=dict(steps=steps or STEPS),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='RMSpropMX', lr=1e-4),
            paramwise_cfg=dict(custom_keys={'temporal.scale.bias': dict(lr_mult=0)}),
        ),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False, max_keep_ckpts=2),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[
            dict(type='SeedHook'),
            dict(type='FiniteLossHook'),
            dict(type='LoadPartsHook'),
            dict(type='ClassNamesHook'),
        ],
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
        ),
        log_processor=dict(by_epoch=False),
        randomness=dict(seed=0),
        log_level='WARNING',
        work_dir=str(work_dir),
        experiment_name=work_dir.name,
    )
    return Config(dict(settings, **changes))


def run(cfg: Config, *hooks: Hook) -> Runner:
    """Trains; the runner of the last step afterwards."""
    for part in runs(cfg):
        # Loggers and message hubs are global, by name; every run needs its own.
        part.experiment_name = f'{cfg.experiment_name}_{run.count}'
        run.count += 1
        runner = Runner.from_cfg(part)
        for hook in hooks:
            runner.register_hook(hook, priority='LOWEST')
        runner.train()
    return runner


run.count = 0


class Kill(Hook):
    """Ends a run as a user would, ahead of an iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


def weights(path: Path) -> dict[str, Tensor]:
    """State dict of a checkpoint."""
    return torch.load(path, weights_only=False)['state_dict']


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that are not bit-identical."""
    assert first.keys() == second.keys()
    return {key for key in first if not torch.equal(first[key], second[key])}
