"""Hook that compares the classes of model and data."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from semidff.utils.model_building import num_classes_of, unwrapped


class NumClassesError(ValueError):
    """The number of a model's classes is not that of the data."""


@HOOKS.register_module()
class NumClassesHook(Hook):
    """Refuse data whose number of classes is not ``num_classes`` of the model's heads, before a training or test.

    Data without class names, such as unlabeled videos, are not checked. ``tools/train.py`` and ``tools/test.py`` add
    the hook.
    """

    def before_train(self, runner: Runner) -> None:
        self._check(runner, runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        self._check(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        self._check(runner, runner.test_dataloader.dataset)

    @staticmethod
    def _check(runner: Runner, dataset: Dataset) -> None:
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        if not classes:
            return
        for name, known in num_classes_of(unwrapped(runner.model)).items():
            if known != len(classes):
                raise NumClassesError(
                    f'the model has num_classes={known} ({name}), but the data has {len(classes)} classes: '
                    f'{", ".join(map(str, classes[:10]))}; set num_classes={len(classes)} or metainfo of the data set'
                )
