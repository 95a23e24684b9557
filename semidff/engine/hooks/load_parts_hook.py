"""Starts a training from parts that other trainings made."""

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from semidff.utils.checkpoint import check_exists, load_strict

_KEYS = {'part', 'checkpoint', 'prefix', 'ignore'}


@HOOKS.register_module()
class LoadPartsHook(Hook):
    """Loads parts of the model, strictly, ahead of the first iteration; a resumed run has them already.

    The parts stand at the top of the config, where ``--cfg-options load_parts.detector.checkpoint=FILE`` reaches
    them::

        load_parts = dict(
            detector=dict(part='spatial.detector', checkpoint='work_dirs/stage_one/last.pth'),
            flow=dict(part='temporal', checkpoint='work_dirs/flow/last.pth', prefix='temporal'),
        )

    ``part`` is the dotted name of the module that is loaded (empty: the whole model), ``prefix`` what it is called in
    the checkpoint (left out: the checkpoint holds nothing but the part), ``ignore`` lists beginnings of names that the
    checkpoint may have beside (``['fc']``). Once stage two's detector is loaded its teacher is made equal to it.

    Raises:
        ValueError: If an entry is not complete.
        CheckpointError: If a file is missing or damaged or is of another model; raised before anything is trained.
    """

    def before_train(self, runner: Runner) -> None:
        """Loads the parts; nothing is loaded if an entry is wrong or a file is missing."""
        if runner.iter > 0:
            return
        entries = runner.cfg.get('load_parts') or {}
        for name, entry in entries.items():
            if set(entry) - _KEYS or not {'part', 'checkpoint'} <= set(entry):
                raise ValueError(
                    f'load_parts.{name} needs part and checkpoint, and may have prefix and ignore; got {sorted(entry)}'
                )
            check_exists(entry['checkpoint'])
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for entry in entries.values():
            module, what = model.get_submodule(entry['part']), entry['part'] or 'model'
            load_strict(
                module,
                entry['checkpoint'],
                what=what,
                prefix=entry.get('prefix', ''),
                ignore=entry.get('ignore', ()),
            )
            runner.logger.info(f'Loaded {what} from {entry["checkpoint"]}')
        if hasattr(model, 'reset_teacher'):
            model.reset_teacher()
