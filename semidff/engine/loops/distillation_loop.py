"""Training loop in steps, each with its own objectives, trainable parts, iterations and optimizer (semi-DFF 3.4)."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from mmdet.registry import LOOPS
from mmengine.config import Config
from mmengine.dist import broadcast_object_list
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from semidff.datasets.unlabeled_videos import lists_read_once
from semidff.utils.model_building import unwrapped

from ..optimizers import BFloat16OptimWrapper
from .accumulating_loop import AccumulatingLoop


@dataclass
class Step:
    """A step of a distillation.

    Args:
        name: Name of the checkpoint that is saved at the end, without suffix.
        objectives: Configs of the losses, which are added.
        trainable: Trainable parts of the video detector.
        optim_wrapper: By default that of the config, like ``param_scheduler``.
        train_dataloader: Settings that are merged into the config's.
        seconds: Time for which ``iters`` was planned. If a step takes longer, those after it have fewer iterations, but
            ``least``, so that all end in time, unless the training is interrupted. None: they do not.
    """

    name: str
    iters: int
    objectives: Sequence[dict]
    trainable: Sequence[str]
    optim_wrapper: dict
    param_scheduler: dict | list | None
    train_dataloader: dict | None = None
    seconds: float | None = None
    least: int = 1


@LOOPS.register_module()
class DistillationLoop(AccumulatingLoop):
    """Iteration-based training loop that is divided into steps.

    Arguments are the settings of each :class:`Step` and those of :class:`AccumulatingLoop`, except ``max_iters``, which
    is the sum of ``iters``.
    """

    def __init__(self, runner: Runner, dataloader: dict, steps: Sequence[dict], **kwargs) -> None:
        inherited = {key: runner.cfg.get(key) for key in ('optim_wrapper', 'param_scheduler')}
        steps = [Step(**{**inherited, **step}) for step in steps]
        names = [step.name for step in steps]
        if len(set(names)) < len(names):
            raise ValueError(
                f'train_cfg.steps need different names, since each names a checkpoint; got {names}'
            )
        settings = [_merged(dataloader, step.train_dataloader) for step in steps]
        iters = sum(step.iters for step in steps)
        # All of them now: a data set that cannot be read is an error before the first step, not after it.
        with lists_read_once():
            super().__init__(runner, settings[0], max_iters=iters, **kwargs)
            self._loaders = [self.dataloader]
            for before, data in pairwise(settings):
                new = before != data
                self._loaders.append(
                    runner.build_dataloader(data, seed=runner.seed) if new else self._loaders[-1]
                )
        model = unwrapped(runner.model)
        if any('feature_network' in step.trainable for step in steps):
            model.own_teacher_features()
        # A hook, since the optimizer state of a checkpoint is loaded before the loop runs; before mmengine's
        # RuntimeInfoHook, which records the learning rate.
        runner.register_hook(DistillationStepHook(steps), priority='HIGHEST')

    def use_data(self, step: int, skipped: int = 0) -> None:
        """Draw the following pairs with the settings of a step; those of ``skipped`` iterations are skipped."""
        if self._loaders[step] is self.dataloader:
            return
        self.dataloader = self._loaders[step]
        self._loaders[:step] = [None] * step  # their workers end
        self.dataloader_iterator = type(self.dataloader_iterator)(self.dataloader)
        if skipped:
            self.dataloader_iterator.skip_iter(skipped)


class DistillationStepHook(Hook):
    """Enter the steps of a :class:`DistillationLoop`, also in the middle of one when a run is resumed.

    The checkpoint ``<name>.pth`` is saved at the end of each step except the last.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.current: int | None = None
        self._given, self._budget = self._lengths(), sum(step.seconds or 0 for step in steps)
        self._begun: float | None = None  # when; None: in another process

    @property
    def ends(self) -> list[int]:
        return list(accumulate(step.iters for step in self.steps))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Enter the step of a resumed run, so that its optimizer exists before the optimizer state is loaded."""
        if not runner._resume:
            return
        iteration = checkpoint['meta']['iter']
        before = checkpoint['meta'].get('distillation_steps', self._given)
        if checkpoint['meta'].get('distillation_given') == self._given:
            for step, (_, iters) in zip(self.steps, before, strict=True):
                step.iters = iters
        runner.train_loop._max_iters = self.ends[-1]
        own = self._lengths()
        starts = accumulate((iters for _, iters in before[:-1]), initial=0)
        begun = sum(iteration > start for start in starts)
        if before[:begun] != own[:begun]:  # its schedules, whose state is loaded, end as before
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
            checkpoint.pop('param_schedulers', None)
            if isinstance(wrapper := runner.optim_wrapper, BFloat16OptimWrapper):
                wrapper.keep_precision(state.get('bfloat16', wrapper.enabled))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        meta = dict(distillation_steps=self._lengths(), distillation_given=self._given)
        checkpoint['meta'].update(meta)

    def _lengths(self) -> list[list]:
        return [[step.name, step.iters] for step in self.steps]

    def before_train(self, runner: Runner) -> None:
        """Check all steps before the first one: that each trains weights, and that its optimizer can be built."""
        model = unwrapped(runner.model)
        current = model.trainable, [(p, p.requires_grad) for p in model.parameters()]
        for step in self.steps:
            model.set_trainable(step.trainable)
            modules = [module for name in step.trainable for module in model.part(name)]
            weights = {p for module in modules for p in module.parameters() if p.requires_grad}
            if not weights.difference(model.without_gradient(step.objectives)):
                raise ValueError(
                    f'the step "{step.name}" trains {list(step.trainable)}, which have no weights at this split '
                    "point that its objectives depend on: add 'temporal' to trainable"
                )
            built = runner.optim_wrapper, runner.param_schedulers
            self._optimize(runner, step)
            runner.optim_wrapper, runner.param_schedulers = built
        model.set_trainable(current[0])
        for weight, is_trained in current[1]:
            weight.requires_grad = is_trained
        # A resumed run has loaded its logged scalars after it entered its step.
        self._forget_losses(runner)
        self._begun = None if runner.iter else time.monotonic()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        if self.current != self._index(runner.iter):
            self._enter(runner, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        if runner.iter + 1 in self.ends[:-1]:
            name = self.steps[self.current].name
            self._keep_time(runner)
            runner.logger.info(f'Step "{name}" is finished; its result is {name}.pth')
            runner.save_checkpoint(runner.work_dir, f'{name}.pth', by_epoch=False)
            # Now, since the next batch is drawn before the next step is entered.
            runner.train_loop.use_data(self.current + 1, skipped=runner.iter + 1)

    def _keep_time(self, runner: Runner) -> None:
        """Leave out iterations of the steps that follow, if those before took longer than was planned."""
        planned = [step.seconds for step in self.steps]
        if self._begun is None or not all(planned):
            return
        before, after = sum(planned[: self.current + 1]), sum(planned[self.current + 1 :])
        taken = time.monotonic() - self._begun
        shared = [(self._budget - taken) / (after * taken / before)]  # of all processes
        broadcast_object_list(shared)
        for step in self.steps[self.current + 1 :]:
            iters = min(step.iters, max(step.least, round(shared[0] * step.iters)))
            step.iters, step.seconds = iters, step.seconds * iters / step.iters
        planned_iters, runner.train_loop._max_iters = runner.max_iters, self.ends[-1]
        if runner.max_iters < planned_iters:
            runner.logger.info(
                f'All took {taken / before:.2f} times as long as planned: {runner.max_iters} iterations in all instead '
                f'of {planned_iters}'
            )

    def _index(self, iteration: int) -> int:
        return sum(iteration >= end for end in self.ends[:-1])

    def _enter(self, runner: Runner, iteration: int) -> None:
        self.current = self._index(iteration)
        step = self.steps[self.current]
        runner.logger.info(
            f'Distillation step {self.current + 1}/{len(self.steps)} "{step.name}": {step.iters} iterations, '
            f'objectives {[o["type"] for o in step.objectives]}, trainable {list(step.trainable)}'
        )
        model = unwrapped(runner.model)
        model.enter_step(step.objectives, step.trainable)
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
    def _optimize(runner: Runner, step: Step) -> None:
        runner.optim_wrapper = runner.build_optim_wrapper(copy.deepcopy(step.optim_wrapper))
        runner.param_schedulers = None  # mmengine scales learning rates before it builds schedules
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        schedule = step.param_scheduler
        if schedule is not None:
            schedules = [schedule] if isinstance(schedule, dict) else schedule
            # Schedules without an end, which count the iterations of the step, end with the step.
            schedules = [
                dict({} if s.get('by_epoch', True) else dict(end=step.iters), **s)
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
