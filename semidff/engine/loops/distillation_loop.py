"""Training loop in steps, each with its own objectives, trainable parts, iterations and optimizer (semi-DFF 3.4)."""

import copy
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from mmdet.registry import HOOKS, LOOPS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from semidff.utils.logs import log_warning
from semidff.utils.model_building import unwrapped

from ..optimizers.bfloat16_optim_wrapper import BFloat16OptimWrapper
from .accumulating_loop import AccumulatingLoop

_NEEDED = {'name', 'iters', 'objectives', 'trainable'}
_ON_FEATURES = {'FeatureRegression', 'SteadyFeatures'}  # objectives without any head
_OPTIONAL = {'optim_wrapper', 'param_scheduler', 'train_dataloader'}


@LOOPS.register_module()
class DistillationLoop(AccumulatingLoop):
    """Iteration-based training loop that is divided into steps.

    Args:
        dataloader: Config of the dataloader of unlabeled pairs.
        steps: One dict per step: ``name``; ``iters``; ``objectives``, a list of configs; ``trainable``, the trainable
            parts of the video detector; optionally ``optim_wrapper`` and ``param_scheduler``, which replace those of
            the config, and ``train_dataloader``, which is merged into it.
        kwargs: Arguments of :class:`AccumulatingLoop`, except ``max_iters``, which is the sum of ``iters``.

    Raises:
        ValueError: If a step is incomplete, has an unknown key or no iterations, or if two have the same name.
    """

    def __init__(self, runner: Runner, dataloader: dict, steps: Sequence[dict], **kwargs) -> None:
        _check(steps)
        settings = [_merged(dataloader, step.get('train_dataloader')) for step in steps]
        iters = sum(step['iters'] for step in steps)
        super().__init__(runner, settings[0], max_iters=iters, **kwargs)
        for step, data in zip(steps, settings, strict=True):
            self.check_batch_size(data)
            _check_data(step, _sources(data['dataset']))
        # All of them now: a data set that cannot be read is an error before the first step, not after it.
        self._loaders = [self.dataloader]
        for before, data in pairwise(settings):
            changed = before != data
            self._loaders.append(
                runner.build_dataloader(data, seed=runner.seed) if changed else self._loaders[-1]
            )
        model = unwrapped(runner.model)
        if any('feature_network' in step['trainable'] for step in steps):
            model.own_teacher_features()
        # A hook, since the optimizer state of a checkpoint is loaded before the loop runs.
        runner.register_hook(DistillationStepHook(steps), priority='VERY_HIGH')

    def use_data(self, step: int, skipped: int = 0) -> None:
        """Draw the following pairs with the settings of a step.

        Args:
            step: Index of the step.
            skipped: Number of iterations whose pairs are skipped.
        """
        if self._loaders[step] is self.dataloader:
            return
        self.dataloader = self._loaders[step]
        self._loaders[:step] = [None] * step  # their workers end
        self.dataloader_iterator = type(self.dataloader_iterator)(self.dataloader)
        if skipped:
            self.dataloader_iterator.skip_iter(skipped)


@HOOKS.register_module()
class DistillationStepHook(Hook):
    """Enter the steps of a :class:`DistillationLoop`, also in the middle of one when a run is resumed.

    The checkpoint ``<name>.pth`` is saved at the end of each step except the last.

    Args:
        steps: As in :class:`DistillationLoop`.
    """

    def __init__(self, steps: Sequence[dict]) -> None:
        self.steps = [dict(step) for step in steps]
        self.ends = list(accumulate(step['iters'] for step in self.steps))
        self.current: int | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Enter the step of a resumed run, so that its optimizer exists before the optimizer state is loaded."""
        if not runner._resume:
            return
        iteration = checkpoint['meta']['iter']
        before = checkpoint['meta'].get('distillation_steps', self._lengths())
        own, starts = self._lengths(), [0, *accumulate(iters for _, iters in before)]
        # Steps that have not begun may change.
        begun = before[: sum(iteration > start for start in starts[:-1])]
        if 0 < len(begun) <= len(own) and not checkpoint.get('param_schedulers'):
            # So may the length of the current one: there is no schedule, whose state has the old end.
            last = len(begun) - 1
            begun = [*begun[:last], [begun[last][0], max(own[last][1], iteration - starts[last])]]
        if begun != own[: len(begun)] or iteration > self.ends[-1]:
            raise ValueError(
                f'the checkpoint is of iteration {iteration} of a training with the steps {before}, but '
                f'train_cfg.steps are {own}; resume with the same steps, add a step to train on, or '
                'start anew with load_from (and load_parts=None)'
            )
        self._enter(runner, iteration)
        runner.train_loop.use_data(self.current)
        if iteration in self.ends[:-1]:
            # The checkpoint was saved between two steps: its state belongs to the finished one.
            state = checkpoint.pop('optimizer', None) or {}
            wrapper = runner.optim_wrapper
            if isinstance(wrapper, BFloat16OptimWrapper):
                wrapper.keep_precision(state.get('bfloat16', wrapper.enabled))
            checkpoint.pop('param_schedulers', None)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['distillation_steps'] = self._lengths()

    def before_train(self, runner: Runner) -> None:
        model = unwrapped(runner.model)
        current = model.trainable, [(p, p.requires_grad) for p in model.parameters()]
        for step in self.steps:  # refuse a later step now, not after the first
            model.set_trainable(step['trainable'])
            modules = [module for name in step['trainable'] for module in model.part(name)]
            weights = {p for module in modules for p in module.parameters() if p.requires_grad}
            if not weights.difference(model.without_gradient(step['objectives'])):
                raise ValueError(
                    f'the step "{step["name"]}" trains {list(step["trainable"])}, which have no weights at this split '
                    "point that its objectives depend on: add 'temporal' to trainable"
                )
            if 'optim_wrapper' in step or 'param_scheduler' in step:
                built = runner.optim_wrapper, runner.param_schedulers
                self._optimize(runner, step)
                runner.optim_wrapper, runner.param_schedulers = built
        model.set_trainable(current[0])
        for weight, is_trained in current[1]:
            weight.requires_grad = is_trained
        # A resumed run has loaded its logged scalars after it entered its step.
        self._forget_losses(runner)
        if runner.iter in self.ends[:-1]:
            # A finished training gets further steps: its last step saved no checkpoint of its own.
            name = f'{self.steps[self.ends.index(runner.iter)]["name"]}.pth'
            if (
                name != Path(runner._load_from or '').name
                and not Path(runner.work_dir, name).exists()
            ):
                meta = dict(epoch=runner.epoch, iter=runner.iter)
                runner.save_checkpoint(runner.work_dir, name, meta=meta, by_epoch=False)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        if self.current != self._index(runner.iter):
            self._enter(runner, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        if runner.iter + 1 in self.ends[:-1]:
            name = self.steps[self.current]['name']
            runner.logger.info(f'Step "{name}" is finished; its result is {name}.pth')
            runner.save_checkpoint(runner.work_dir, f'{name}.pth', by_epoch=False)
            # Now, since the next batch is drawn before the next step is entered.
            runner.train_loop.use_data(self.current + 1, skipped=runner.iter + 1)

    def _lengths(self) -> list[list]:
        return [[step['name'], step['iters']] for step in self.steps]

    def _index(self, iteration: int) -> int:
        return sum(iteration >= end for end in self.ends[:-1])

    def _enter(self, runner: Runner, iteration: int) -> None:
        self.current = self._index(iteration)
        step = self.steps[self.current]
        runner.logger.info(
            f'Distillation step {self.current + 1}/{len(self.steps)} "{step["name"]}": {step["iters"]} iterations, '
            f'objectives {[o["type"] for o in step["objectives"]]}, trainable {list(step["trainable"])}'
        )
        model = unwrapped(runner.model)
        model.enter_step(step['objectives'], step['trainable'])
        if is_model_wrapper(runner.model):
            # DistributedDataParallel handles only the parameters that were trainable when it was created.
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
        runner.model.train()  # the parts that this step trains
        previous = runner.optim_wrapper
        self._optimize(runner, step)
        both = previous, runner.optim_wrapper
        if all(isinstance(wrapper, BFloat16OptimWrapper) and wrapper.auto for wrapper in both):
            runner.optim_wrapper.keep_precision(previous.enabled)
        runner.optim_wrapper.initialize_count_status(
            runner.model, iteration, runner.train_loop.max_iters
        )
        self._forget_losses(runner)

    @staticmethod
    def _optimize(runner: Runner, step: dict) -> None:
        """Build the optimizer and the schedules of a step."""
        config = step.get('optim_wrapper', runner.cfg.optim_wrapper)
        runner.optim_wrapper = runner.build_optim_wrapper(copy.deepcopy(config))
        runner.param_schedulers = None  # mmengine scales learning rates before it builds schedules
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        schedule = step.get('param_scheduler', runner.cfg.get('param_scheduler'))
        if schedule is not None:
            schedules = [schedule] if isinstance(schedule, dict) else schedule
            # Schedules without an end, which count the iterations of the step, end with the step.
            schedules = [
                dict({} if s.get('by_epoch', True) else dict(end=step['iters']), **s)
                for s in schedules
            ]
            schedule = runner.build_param_scheduler(schedules)
        runner.param_schedulers = schedule

    @staticmethod
    def _forget_losses(runner: Runner) -> None:
        """Remove the losses of the previous step from the log, which would repeat their last values."""
        scalars = runner.message_hub.log_scalars
        for name in [name for name in scalars if name.startswith('train/loss')]:
            del scalars[name]


def _merged(dataloader: dict, changes: dict | None) -> dict:
    """Return the config of a dataloader with some settings changed, as in a config that inherits it."""
    if not changes:
        return dataloader
    config = Config(dict(dataloader=dataloader))
    config.merge_from_dict(dict(dataloader=changes))
    return config.dataloader


def _kinds(step: dict) -> set[str]:
    return {getattr(kind, '__name__', kind) for kind in (o.get('type') for o in step['objectives'])}


def _sources(dataset: dict) -> list[dict]:
    """Return the configs of the data sets inside of wrappers."""
    inner = dataset.get('datasets') or filter(None, [dataset.get('dataset')])
    return [source for each in inner for source in _sources(each)] or [dataset]


def _check_data(step: dict, datasets: Iterable[dict]) -> None:
    """Refuse pairs where triplets are needed.

    Warn of a task network that is trained on propagated features only: it drifts away from the key frames' own.
    """
    least = []
    for dataset in datasets:
        if 'SteadyFeatures' in _kinds(step) and not dataset.get('triplets'):
            raise ValueError(
                f'step "{step["name"]}": SteadyFeatures needs triplets of frames; set triplets=True of its '
                f'{dataset.get("type")}'
            )
        least.append((dataset.get('interval') or {}).get('low', 1))
    if min(least, default=0) > 0 and 'task_network' in step['trainable']:
        log_warning(
            f'step "{step["name"]}" trains the task network without still pairs, which may make predictions on key '
            'frames worse; set train_dataloader=dict(dataset=dict(dataset=dict(interval=dict(low=0)))) in this step'
        )


def _check(steps: Sequence[dict]) -> None:
    if not steps:
        raise ValueError('train_cfg.steps is empty: distillation needs at least one step')
    for i, step in enumerate(steps):
        missing = _NEEDED - set(step)
        unknown = set(step) - _NEEDED - _OPTIONAL
        iters = step.get('iters')
        if missing or unknown or type(iters) is not int or iters < 1:
            raise ValueError(
                f'train_cfg.steps[{i}] needs name, iters >= 1, objectives and trainable, and may have optim_wrapper, '
                f'param_scheduler and train_dataloader; missing {sorted(missing)}, unknown {sorted(unknown)}, '
                f'iters {iters!r}'
            )
        for key in ('objectives', 'trainable'):
            if not isinstance(step[key], list | tuple) or not step[key]:
                raise ValueError(
                    f'train_cfg.steps[{i}].{key} is {step[key]!r}; it must be a list with at least one entry'
                )
        if 'task_network' in step['trainable'] and _kinds(step) <= _ON_FEATURES:
            raise ValueError(
                f'train_cfg.steps[{i}] trains the task network, but none of its objectives compares what that '
                'predicts; add FeatureSemantics, or remove task_network from trainable'
            )
    names = [step['name'] for step in steps]
    for name in names:
        if not re.fullmatch(r'[\w.-]+', str(name)) or re.fullmatch(r'last|iter_\d+|\.+', str(name)):
            raise ValueError(
                f'train_cfg.steps has the name {name!r}, which names the checkpoint of the step: use letters, digits, '
                '"_", "-" and ".", and neither "last" nor "iter_N"'
            )
    if len(set(names)) < len(names):
        raise ValueError(
            f'train_cfg.steps need different names, since each names a checkpoint; got {names}'
        )
