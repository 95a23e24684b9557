"""Stage two in steps (semi-DFF 3.4): each is a run of mmengine's loop."""

import copy
import gc
from collections.abc import Iterator
from pathlib import Path

from mmdet.registry import HOOKS
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from semidff.checkpoints.building import unwrapped
from semidff.checkpoints.read import read_checkpoint
from semidff.utils.run_folder import latest_checkpoint

from .optimizers import BFloat16OptimWrapper

_ITERATIONS = {'iters', 'max_iters', 'val_begin', 'val_interval', 'begin', 'end', 'milestones'}
_ITERATIONS |= {'total_steps', 'T_max', 'step_size', 'periods', 'restarts'}


def runs(cfg: Config) -> Iterator[Config]:
    """Yield the config of each run of a training, after the run before it; skip finished runs.

    A config without ``train_cfg.steps`` is its only run. Each step is a run that goes on from the
    iteration and the weights of the step before, with an optimizer of its own. A step has these
    settings:

    - ``name``: different in each step; a step that is not the last has the result ``<name>.pth``;
    - ``iters``: number of iterations, the same when the training is resumed;
    - ``objectives``, ``trainable``: those of :class:`~semidff.models.semi_dff.SemiDFF`;
    - ``optim_wrapper``, ``param_scheduler``: in place of the config's. Schedules without an end end
      with the step;
    - ``train_dataloader``: merged into the config's.

    With ``train_cfg.accumulate=N``, an update takes the mean gradient of N batches. mmengine counts
    each of them as an iteration (``accumulative_counts``), so that all iterations of the config,
    also of schedules, are multiplied by N.
    """
    whole, cfg = cfg, copy.deepcopy(cfg)
    if cfg.train_cfg.get('accumulate'):
        _accumulate(cfg, cfg.train_cfg.pop('accumulate'))
    steps = cfg.train_cfg.get('steps')
    if steps is None:
        yield cfg
        return
    if cfg.filename and is_main_process() and not is_in_folder(cfg, cfg.work_dir):
        folder = Path(cfg.work_dir)  # each run writes its config there, too
        folder.mkdir(parents=True, exist_ok=True)
        whole.dump(folder / Path(cfg.filename).name)
    path = cfg.get('load_from') or latest_checkpoint(cfg.work_dir) if cfg.get('resume') else None
    done, end = read_checkpoint(path)[1]['iter'] if path else 0, 0
    for number, step in enumerate(steps):
        begin, end = end, end + step.iters
        if done >= end and number + 1 < len(steps):
            continue
        yield _run(cfg, number, begin)
        gc.collect()  # the Runner and its loop refer to each other and hold models and workers
        cfg.resume, cfg.load_from = True, str(Path(cfg.work_dir, f'{step.name}.pth'))


def _accumulate(cfg: Config, count: int) -> None:
    """Update the weights every ``count`` iterations, and multiply all iterations by it."""
    if cfg.train_cfg.get('type') in ('DistillationLoop', 'AccumulatingLoop'):  # of 0.3.0
        raise ValueError(
            f'divide train_dataloader.batch_size by train_cfg.accumulate={count}, since it is the '
            'size of one batch now, and leave train_cfg.type out'
        )
    if cfg.get('auto_scale_lr'):
        cfg.auto_scale_lr.base_batch_size /= count
    for part in (cfg, *cfg.train_cfg.get('steps', [])):
        if part.get('optim_wrapper'):
            part.optim_wrapper.accumulative_counts = count
        for lengths in (part.get('train_cfg', part), *_schedules(part)):
            for key in _ITERATIONS & lengths.keys():
                value = lengths[key]
                is_list = isinstance(value, list)
                lengths[key] = [count * n for n in value] if is_list else count * value


def _schedules(part: ConfigDict) -> list[ConfigDict]:
    """Return the schedules of a config or a step that count iterations."""
    schedules = part.get('param_scheduler') or []
    schedules = [schedules] if isinstance(schedules, dict) else schedules
    return [schedule for schedule in schedules if not schedule.get('by_epoch', True)]


def is_in_folder(cfg: Config, folder: str | Path) -> bool:
    """Return whether a config was read from a folder."""
    return bool(cfg.filename) and Path(cfg.filename).resolve().parent == Path(folder).resolve()


def _run(cfg: Config, number: int, begin: int) -> Config:
    """Return the config of a step that begins after an iteration."""
    step, name = cfg.train_cfg.steps[number], Path(cfg.filename or '').stem
    name = f'{name}_{step.name}.py' if name else None
    run = Config(copy.deepcopy(dict(cfg)), cfg_text=' ', filename=name)
    loop = {k: v for k, v in run.train_cfg.items() if k != 'steps'}
    run.train_cfg = dict(loop, type='IterBasedTrainLoop', max_iters=begin + step.iters)
    run.model.update(objectives=step.objectives, trainable=step.trainable)
    if step.get('train_dataloader'):
        run.merge_from_dict(dict(train_dataloader=step.train_dataloader))
    run.update({k: step[k] for k in ('optim_wrapper', 'param_scheduler') if k in step})
    if run.get('visualizer'):
        # Visualizers are global, by name; each writes to the log folder of its run.
        run.visualizer.name = str(Path(cfg.work_dir, step.name))
    for schedule in _schedules(run):
        schedule.setdefault('end', step.iters)
    is_last = number + 1 == len(cfg.train_cfg.steps)
    hook = dict(type='StepHook', begin=begin, is_last=is_last)
    run.custom_hooks = [*(run.get('custom_hooks') or []), hook]
    if not is_last:
        hook = dict(type='LastCheckpointHook', name=f'{step.name}.pth')
        run.default_hooks = dict(run.get('default_hooks') or {}, last_checkpoint=hook)
    return run


@HOOKS.register_module()
class StepHook(Hook):
    """Begin a step without the optimizer state of the step before, whose weights are loaded.

    The next step in this process has the :class:`~semidff.models.semi_dff.FeatureCache` of this
    one.

    Args:
        begin: Iteration after which the step begins.
        is_last: Whether no step follows.
    """

    priority = 'HIGHEST'
    _kept: tuple = ()  # work folder and cache of a finished step

    def __init__(self, begin: int, is_last: bool) -> None:
        self.begin, self.is_last = begin, is_last

    def before_train(self, runner: Runner) -> None:
        (folder, cache), StepHook._kept = StepHook._kept or (None, None), ()
        if cache is not None and self.begin and folder == runner.work_dir:
            model = unwrapped(runner.model)
            cache.network, model.feature_cache = model.spatial.features, cache

    def after_train(self, runner: Runner) -> None:
        if not self.is_last:
            cache = getattr(unwrapped(runner.model), 'feature_cache', None)
            StepHook._kept = runner.work_dir, cache

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume or checkpoint['meta']['iter'] != self.begin:
            return
        state = checkpoint.pop('optimizer', {})
        checkpoint.pop('param_schedulers', None)
        if isinstance(wrapper := runner.optim_wrapper, BFloat16OptimWrapper):
            wrapper.keep_precision(state.get('bfloat16', wrapper.enabled))
        # The log would repeat the last losses of the step before.
        scalars = checkpoint['message_hub']['log_scalars']
        for name in [name for name in scalars if name.startswith('train/loss')]:
            del scalars[name]
