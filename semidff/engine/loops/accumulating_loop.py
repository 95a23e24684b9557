"""Training loop that adds up the gradients of the parts of a batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from mmdet.registry import LOOPS
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn


@LOOPS.register_module()
class AccumulatingLoop(IterBasedTrainLoop):
    """Iteration-based training loop whose iterations process their batch in equal parts.

    The weights are updated once per iteration, with the mean of the parts' gradients. Unlike with mmengine's
    ``accumulative_counts``, which counts each part as an iteration, schedules and checkpoints are those of a batch that
    fits into memory as a whole, and no checkpoint falls between two parts: a resumed run loses no gradients. The batch
    size of the dataloader is a multiple of ``accumulate``; other arguments are those of mmengine's
    ``IterBasedTrainLoop``.
    """

    def __init__(self, runner: Runner, dataloader: dict, accumulate: int = 1, **kwargs) -> None:
        super().__init__(runner, dataloader, **kwargs)
        self.accumulate = accumulate

    def run_iter(self, data_batch: dict[str, Sequence]) -> None:
        """Train on the parts of a batch and update the weights once."""
        if self.accumulate == 1:
            super().run_iter(data_batch)
            return
        size, rest = divmod(len(next(iter(data_batch.values()))), self.accumulate)
        if rest:
            raise ValueError(
                f'a batch cannot be divided into train_cfg.accumulate={self.accumulate} equal parts; set '
                'train_dataloader.batch_size to a multiple of it, and drop_last=True if the batch is the last one'
            )
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=self._iter, data_batch=data_batch)
        logged = []
        for part in range(self.accumulate):
            share = _Share(runner.optim_wrapper, self.accumulate, part == self.accumulate - 1)
            batch = {k: v[part * size : (part + 1) * size] for k, v in data_batch.items()}
            logged.append(runner.model.train_step(batch, optim_wrapper=share))
        outputs = {key: sum(log[key] for log in logged) / len(logged) for key in logged[0]}
        runner.call_hook(
            'after_train_iter', batch_idx=self._iter, data_batch=data_batch, outputs=outputs
        )
        self._iter += 1


class _Share:
    """The optimizer wrapper as ``train_step`` sees it, for one of several parts; the last one updates the weights."""

    def __init__(self, wrapper: OptimWrapper, parts: int, last: bool) -> None:
        self.wrapper, self.parts, self.last = wrapper, parts, last

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        # Processes exchange the sum of the gradients, once.
        alone = not self.last and hasattr(model, 'no_sync')
        with model.no_sync() if alone else nullcontext(), self.wrapper.optim_context(model):
            yield

    def update_params(self, loss: Tensor) -> None:
        self.wrapper.backward(loss / self.parts)
        if self.last:
            self.wrapper.step()
            self.wrapper.zero_grad()
