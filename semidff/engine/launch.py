"""Command-line options of training and testing, put into the config, and the setup of the process."""

import argparse
import atexit
import gc
import os
from pathlib import Path

import torch
from mmdet.registry import OPTIMIZERS
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config
from mmengine.device import get_device

from semidff.inference import schedule_config
from semidff.utils.allocator import keep_freed_memory
from semidff.utils.arguments import OptionError
from semidff.utils.image_detectors import resolve_detector
from semidff.utils.model_building import ConfigError, read_config
from semidff.utils.run_folder import check_work_dir
from semidff.utils.setting_checks import import_extras
from semidff.utils.video_writer import is_storable

from .loops.video_test_loop import default_method
from .resuming import apply_resume

# options of ``tools/test.py`` that apply only to tests on videos
VIDEO_OPTIONS = (
    'method',
    'key_interval',
    'adaptive',
    'scene_cuts',
    'protocol',
    'render',
    'render_videos',
    'detections',
)

# environment variables in which launchers give each process its number
_RANK = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')


def prepare_run(args: argparse.Namespace) -> Config:
    """Set up the process and return the config with the settings of the command line.

    Args:
        args: ``config`` and the arguments of :func:`~semidff.utils.arguments.add_launch_arguments`.

    Raises:
        ConfigError: If there is no such config, or a setting of it is impossible.
        OptionError: If the process was not started by the launcher.
    """
    if (variable := _RANK.get(args.launcher, 'PATH')) not in os.environ:
        raise OptionError(
            f'--launcher {args.launcher}: the environment variable {variable} is missing, so no such launcher started '
            'this process; for one process leave the option out'
        )
    keep_freed_memory(get_device())
    setup_cache_size_limit_of_dynamo()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    if 'model' not in cfg:
        raise ConfigError(f'{args.config}: has no model')
    import_extras(cfg)
    adapt_to_machine(cfg, args.launcher)
    default = Path('work_dirs') / Path(args.config).stem
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or str(default)
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='NumClassesHook')]
    return cfg


def adapt_to_machine(cfg: Config, launcher: str) -> None:
    """Set the launcher, and gloo as the backend of distributed runs on machines without a GPU."""
    cfg.launcher = launcher
    if launcher == 'none':
        return
    atexit.register(_leave_group)
    if torch.cuda.is_available():
        return
    cfg.env_cfg = dict(cfg.get('env_cfg', {}), dist_cfg=dict(backend='gloo'))
    started = torch.distributed.is_initialized()
    if launcher == 'pytorch' and 'RANK' in os.environ and not started:
        # mmengine would select a CUDA device before it starts the group; it leaves an existing group alone.
        torch.distributed.init_process_group('gloo')


def is_first_process(launcher: str) -> bool:
    """Return whether this process has rank 0; on GPUs the process group, which knows the rank, starts only later."""
    return launcher == 'none' or os.environ[_RANK[launcher]] == '0'


def _leave_group() -> None:
    """End the process group: its threads may abort a process that exits before them.

    They end with the last reference to the group, and models wrapped for it refer to it in cycles.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()


def apply_train_options(cfg: Config, args: argparse.Namespace) -> None:
    """Put seed, precision, gradient accumulation, resuming and a named detector into a training config.

    Precision is set in all optimizer wrappers, those of distillation steps included: mmengine's ``AmpOptimWrapper`` on
    a GPU, bfloat16 on a CPU. Gradients are accumulated by :class:`~semidff.engine.loops.AccumulatingLoop`.

    Args:
        cfg: The config, changed in place.
        args: Options of ``tools/train.py``; those that are None change nothing.

    Raises:
        OptionError: If ``accumulate`` is not positive, or the config has a loop without accumulation, an optimizer
            wrapper without mixed precision, or one with mmengine's ``accumulative_counts``; if the backbone's weights
            are to be given, and are not; if the checkpoint to resume from has no state of a training, or another
            seed.
        FileError: If the work folder cannot be used, see :func:`~semidff.utils.run_folder.check_work_dir`.
    """
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness', {}), seed=args.seed)
    if args.accumulate is not None:
        _accumulate(cfg, args.accumulate)
    resumed = apply_resume(cfg, args)
    if not resumed:
        check_work_dir(cfg)
    if cfg.get('load_from') and cfg.get('load_parts') and not resumed:
        raise OptionError(
            f'load_from={cfg.load_from} gives all weights, and load_parts would replace {", ".join(cfg.load_parts)}; '
            'add load_parts=None'
        )
    resolve_detector(cfg, keep_checkpoint=not resumed)
    _check_backbone(cfg, loaded=resumed or bool(cfg.get('load_from')))
    parts = [cfg, *(cfg.get('train_cfg') or {}).get('steps', [])]
    for wrapper in (part.optim_wrapper for part in parts if part.get('optim_wrapper')):
        kind = (wrapper.get('optimizer') or {}).get('type')
        if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
            raise OptionError(f'optim_wrapper.optimizer.type is {kind!r}, which is no optimizer')
        if args.amp:
            kind = wrapper.get('type', 'OptimWrapper')
            if kind != 'OptimWrapper':
                raise OptionError(f'--amp works with OptimWrapper, but the config has {kind}')
            if torch.cuda.is_available():
                wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
            else:
                wrapper.update(type='BFloat16OptimWrapper', enabled=True)
        if wrapper.get('accumulative_counts', 1) > 1:
            raise OptionError(
                f'optim_wrapper.accumulative_counts is {wrapper.accumulative_counts}, which loses gradients when the '
                f'training is resumed; leave it out and use --accumulate {wrapper.accumulative_counts}, which counts '
                'updates, not batches, as iterations'
            )


def _accumulate(cfg: Config, count: int) -> None:
    """Multiply the batch sizes of a training by a number, and divide its batches into as many parts."""
    train = cfg.train_cfg
    if count < 1:
        raise OptionError(f'--accumulate must be at least 1, got {count}')
    kind = train.get('type')
    if kind not in ('AccumulatingLoop', 'DistillationLoop', 'IterBasedTrainLoop'):
        raise OptionError(
            f'--accumulate works with IterBasedTrainLoop and DistillationLoop, but train_cfg.type is {kind!r}'
        )
    if kind == 'IterBasedTrainLoop':
        train['type'] = 'AccumulatingLoop'
    train['accumulate'] = count
    cfg.train_dataloader.setdefault('batch_size', 1)
    for part in (cfg, *train.get('steps', [])):
        if 'batch_size' in part.get('train_dataloader', {}):
            part.train_dataloader.batch_size *= count


def _check_backbone(cfg: Config, loaded: bool) -> None:
    """Refuse to train a backbone whose config leaves its checkpoint open; its frozen layers would stay random.

    Args:
        loaded: Whether all weights come from a checkpoint.
    """
    model = cfg.get('model') or {}
    parts = [entry.get('part', '') for entry in (cfg.get('load_parts') or {}).values()]
    for place, detector in (('model', model), ('model.detector', model.get('detector'))):
        backbone = (detector.get('backbone') if isinstance(detector, dict) else None) or {}
        init = backbone.get('init_cfg')
        if not isinstance(init, dict) or init.get('checkpoint', '') is not None:
            continue
        name = 'backbone' if place == 'model' else 'spatial.detector.backbone'
        if not loaded and not any(not part or f'{name}.'.startswith(f'{part}.') for part in parts):
            raise OptionError(
                f'{place}.backbone.init_cfg.checkpoint is not set; give a file of weights with --cfg-options '
                f'{place}.backbone.init_cfg.checkpoint=FILE'
            )
        backbone.init_cfg = None


def apply_test_options(cfg: Config, args: argparse.Namespace) -> str | None:
    """Put method, schedule, protocol, detections and rendering into a test config, and remove its own checkpoint.

    Args:
        cfg: A config with ``test_cfg`` and ``test_evaluator``, changed in place.
        args: Options of ``tools/test.py``; those that are None change nothing.

    Returns:
        The method of the test; None for a model that is no video detector and is tested by mmengine's own loop
        (``test_cfg=dict(type='TestLoop')``).

    Raises:
        OptionError: If the config has no test, no metric that writes detections, or does not support a given option.
    """
    _check_test(cfg, args)
    cfg.load_from, cfg.resume = None, False  # mmengine would load it over the weights to test
    resolve_detector(cfg, keep_checkpoint=False)
    test = cfg.test_cfg
    if test.type == 'TestLoop':
        return None
    for name in ('method', 'key_interval', 'protocol'):
        if getattr(args, name) is not None:
            test[name] = getattr(args, name)
    if args.adaptive or args.scene_cuts:
        interval = test.get('key_interval', 10)
        test.schedule = schedule_config(interval, args.adaptive, bool(args.scene_cuts))
    elif test.get('schedule') and args.key_interval is not None:
        # It decides alone. One with another setting, as a tolerated error, stays as it is.
        schedule = test.schedule
        while isinstance(schedule.get('base'), dict):
            schedule = schedule.base
        if 'interval' in schedule:
            schedule.interval = args.key_interval
        elif schedule.get('type') == 'SceneCutSchedule':
            schedule.base = args.key_interval
    if args.render is not None:
        output = dict(out_dir=args.render, max_videos=args.render_videos, fps=args.render_fps)
        given = {name: value for name, value in output.items() if value is not None}
        test.render = {**(test.get('render') or {}), **given}
    if args.detections is not None:
        _vid_metric(cfg).outfile = args.detections
    return test.get('method') or default_method(cfg.model.get('temporal'))


def _check_test(cfg: Config, args: argparse.Namespace) -> None:
    if not cfg.get('test_cfg') or not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise OptionError(
            f'{cfg.filename}: no test_cfg, test_dataloader or test_evaluator, so there is nothing '
            'to test; base the config on one of configs/_base_/datasets'
        )
    kind = cfg.test_cfg.get('type')
    if kind not in ('TestLoop', 'VideoTestLoop'):
        raise OptionError(
            f"{cfg.filename}: test_cfg.type is {kind!r}; set test_cfg = dict(type='VideoTestLoop'), "
            "or 'TestLoop' for a model that is no video detector"
        )
    given = [name for name in VIDEO_OPTIONS if getattr(args, name) is not None]
    if kind == 'TestLoop' and given:
        raise OptionError(
            f'{cfg.filename}: --{given[0].replace("_", "-")} is for tests on videos, but test_cfg.type '
            "is 'TestLoop'; leave it out"
        )
    if args.key_interval is not None and args.key_interval < 1:
        raise OptionError(f'--key-interval is {args.key_interval}; it must be at least 1')
    if args.render_videos is not None and args.render_videos < 1:
        raise OptionError(f'--render-videos is {args.render_videos}; it must be at least 1')
    for name in ('render_videos', 'render_fps'):
        if getattr(args, name) is not None and args.render is None:
            raise OptionError(f'--{name.replace("_", "-")} needs --render DIR')
    if args.render_fps is not None and not is_storable(args.render_fps):
        raise OptionError(f'--render-fps is {args.render_fps}; it must be from 0.001 to 65535')


def _vid_metric(cfg: Config) -> dict:
    evaluator = cfg.test_evaluator
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    for metric in metrics:
        if metric.get('type') == 'VIDMetric':
            return metric
    raise OptionError(
        f'{cfg.filename}: --detections needs a VIDMetric in test_evaluator; it has '
        f'{[metric.get("type") for metric in metrics]}'
    )
