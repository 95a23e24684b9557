"""Hook that stores class names in checkpoints of trainings without labels."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from semidff.utils.checkpoint import stored_classes
from semidff.utils.model_building import unwrapped


@HOOKS.register_module()
class ClassNamesHook(Hook):
    """Store the class names of the image detector in the checkpoints of stage two, where mmdet stores those of the
    training data.

    They are those of the checkpoint that the detector was loaded from, by ``model.checkpoint`` or ``load_parts``.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if classes := stored_classes(checkpoint.get('meta') or {}):
            unwrapped(runner.model).dataset_meta = dict(classes=classes)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        loaded = getattr(unwrapped(runner.model), 'dataset_meta', None)
        if loaded and not stored_classes(checkpoint['meta']):
            own = checkpoint['meta'].get('dataset_meta') or {}
            checkpoint['meta']['dataset_meta'] = {**own, **loaded}
