"""Set-up of a training or test: process, options, checkpoint to resume from, and Runner."""

import atexit
import gc
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.runner import Runner as MMEngineRunner

from semidff.checkpoints.building import unwrapped
from semidff.checkpoints.detectors import resolve_detector
from semidff.checkpoints.read import read_checkpoint
from semidff.inference.options import MethodOptions
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.command_line import Output
from semidff.utils.configs import import_extras, read_config
from semidff.utils.error_messages import ConfigError
from semidff.utils.run_folder import latest_checkpoint

from .steps import is_in_folder, runs

# Messages of mmengine that nobody acts on: frozen weights are meant to be skipped, schedules are
# optional, losses of earlier steps are logged no more.
_HIDDEN = re.compile(
    r'\n-+\nSystem environment|Config:\n|Hooks will be executed|Distributed training is not used'
    r'|paramwise_options|.* is skipped since its requires_grad=False'
    r'|`(save|resume)_param_scheduler` is True'
    r'|resumed key: .* is not defined in message_hub'
)


@dataclass(frozen=True)
class Launch:
    """How the process of a training or test was started.

    Attributes:
        work_dir: Folder for logs and results (default: work_dirs/CONFIG NAME).
        cfg_options: Settings that replace those of the config, for example train_cfg.max_iters=100,
            in stage two train_cfg.steps.0.iters=100.
        launcher: How the processes of a distributed run were started (torchrun: pytorch).
        local_rank: Set by launchers.
    """

    work_dir: str | None = None
    cfg_options: dict | None = None
    launcher: Literal['none', 'pytorch', 'slurm', 'mpi'] = 'none'
    local_rank: int = 0


@dataclass(frozen=True)
class VideoTestOptions:
    """Actions and outputs of a test; None: as in its config.

    Attributes:
        protocol: dense: every frame at its position in the schedule; pairs: every labeled frame at
            each distance 0 ... L-1 from its key frame (DFF 5.2) (default: the config's, else
            dense).
        detections: Write all detections in the ILSVRC format (frame_id class score x1 y1 x2 y2).
        render: Folder for an mp4 with the detections of each video.
        render_videos: Render only the first N videos (of each process).
        render_fps: Frames per second of the mp4 files (default: the config's, or 10).
    """

    protocol: Literal['dense', 'pairs'] | None = None
    detections: Output | None = None
    render: Output | None = None
    render_videos: int | None = None
    render_fps: float | None = None


class Runner(MMEngineRunner):
    """mmengine's Runner that keeps the config file it has read; its log is short, but for DEBUG."""

    def build_logger(self, log_level: int | str = 'INFO', **options) -> MMLogger:
        logger = super().build_logger(log_level, **options)
        self._is_short = log_level not in ('DEBUG', logging.DEBUG)
        if self._is_short:
            logger.addFilter(lambda record: not _HIDDEN.match(record.getMessage()))
        return logger

    def _init_model_weights(self) -> None:
        if self._is_short:  # else four lines in the file for each parameter
            unwrapped(self.model)._dump_init_info = lambda: None
        super()._init_model_weights()

    def dump_config(self) -> None:
        if not is_in_folder(self.cfg, self.work_dir):
            super().dump_config()


def prepare_run(config: str | Path, launch: Launch) -> Config:
    """Set up the process; return the config with the settings of the launch."""
    keep_freed_memory(get_device())
    setup_cache_size_limit_of_dynamo()
    os.environ.setdefault('LOCAL_RANK', str(launch.local_rank))
    cfg = read_config(config, launch.cfg_options)
    if 'model' not in cfg:
        raise ConfigError(f'{config}: has no model')
    import_extras(cfg)
    cfg.work_dir = launch.work_dir or cfg.get('work_dir') or f'work_dirs/{Path(config).stem}'
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='NumClassesHook')]
    cfg.launcher = launch.launcher
    if launch.launcher != 'none':
        atexit.register(_leave_group)
    has_group = torch.distributed.is_initialized()
    if launch.launcher == 'pytorch' and not has_group and not torch.cuda.is_available():
        # mmengine would select a CUDA device before it starts the group; it leaves an existing
        # group alone.
        torch.distributed.init_process_group('gloo')
    return cfg


def _leave_group() -> None:
    """End the process group: its threads may abort a process that exits before them.

    They end with the last reference to the group, and models wrapped for it refer to it in cycles.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()


def use_mixed_precision(cfg: Config) -> None:
    """Set mixed precision in the optimizer wrapper of a run's config.

    It is float16 with a dynamic loss scale on a GPU (mmengine's ``AmpOptimWrapper``), bfloat16 on a
    CPU and in configs with :class:`~semidff.engine.optimizers.BFloat16OptimWrapper`. Other wrappers
    stay as they are.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.setdefault('type', 'OptimWrapper')
    if kind == 'OptimWrapper' and torch.cuda.is_available():
        wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    elif kind in ('OptimWrapper', 'BFloat16OptimWrapper'):
        wrapper.update(type='BFloat16OptimWrapper', enabled=True)


def prepare_training(cfg: Config, resume: str | None = None, seed: int | None = None) -> None:
    """Find the checkpoint that a training resumes from, and the weights that it starts from.

    Args:
        cfg: The config, changed in place. A resumed training keeps the seed of its checkpoint.
        resume: Checkpoint to resume from, or ``auto``: the latest checkpoint of the work folder, if
            there is one; None: as the config says.
    """
    if torch.cuda.is_available():  # on a CPU, decoding would compete with the training
        cfg.train_dataloader.setdefault('num_workers', 2)
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness', {}), seed=seed)
    resume = resume or (cfg.get('resume') and (cfg.get('load_from') or 'auto'))
    path = latest_checkpoint(cfg.work_dir) if resume == 'auto' else resume
    cfg.resume = bool(path)
    if path:
        cfg.load_from = None if resume == 'auto' else path
        stored = None if '://' in path else read_checkpoint(path)[1].get('seed')
        if type(stored) is int:  # mmengine sets it after it has built the data loader
            cfg.randomness = dict(cfg.get('randomness', {}), seed=stored)
    resolve_detector(cfg, keep_checkpoint=not path)
    _close_backbone(cfg)


def train(config: Path, folder: Path) -> None:
    """Train in a folder by a config file, or continue what was interrupted."""
    cfg = read_config(config)
    cfg.work_dir = str(folder)
    prepare_training(cfg, resume='auto')
    for run in runs(cfg):
        Runner.from_cfg(run).train()


def _close_backbone(cfg: Config) -> None:
    """Leave a backbone whose config has no checkpoint to the weights of load_from or load_parts."""
    model = cfg.get('model') or {}
    backbone = (model.get('detector') or model).get('backbone') or {}
    init = backbone.get('init_cfg')
    if not isinstance(init, dict) or init.get('checkpoint', '') is not None:
        return
    place, name = 'model.backbone', 'backbone.'
    if 'detector' in model:
        place, name = 'model.detector.backbone', 'spatial.detector.backbone.'
    parts = [entry.get('part', '') for entry in (cfg.get('load_parts') or {}).values()]
    loaded = any(not part or name.startswith(f'{part}.') for part in parts)
    if not loaded and not cfg.get('load_from') and not cfg.get('resume'):
        raise ValueError(f'{place}.init_cfg.checkpoint is not set: frozen layers would be random')
    backbone.init_cfg = None


def apply_test_options(cfg: Config, points: MethodOptions, options: VideoTestOptions) -> None:
    """Put the options that are not None into a test config, and remove its checkpoint."""
    if not cfg.get('test_cfg'):
        raise ValueError(f'{cfg.filename}: has no test_cfg, see configs/_base_/datasets')
    cfg.load_from, cfg.resume = None, False  # mmengine would load it over the weights to test
    resolve_detector(cfg, keep_checkpoint=False)
    test = cfg.test_cfg
    for name in ('method', 'key_interval', 'filter', 'light_every'):
        if (value := getattr(points, name)) is not None:
            test[name] = value
    if options.protocol is not None:
        test.protocol = options.protocol
    if schedule := points.schedule(test.get('key_interval', 10)):
        test.schedule = schedule
    elif test.get('schedule') and points.key_interval is not None:
        # The schedule alone decides.
        schedule = test.schedule
        while isinstance(schedule.get('base'), dict):
            schedule = schedule.base
        if 'interval' in schedule:
            schedule.interval = points.key_interval
        elif schedule.get('type') == 'SceneCutSchedule':
            schedule.base = points.key_interval
    if options.render is not None:
        output = dict(
            out_dir=options.render, max_videos=options.render_videos, fps=options.render_fps
        )
        changes = {name: value for name, value in output.items() if value is not None}
        test.render = {**(test.get('render') or {}), **changes}
    if options.detections is not None:
        evaluator = cfg.test_evaluator
        metrics = evaluator if isinstance(evaluator, list) else [evaluator]
        kinds = [metric.get('type') for metric in metrics]
        metrics[kinds.index('VIDMetric')].outfile = options.detections
