"""Hooks that initialize parts of a model, and keep the class names of the detector."""

from collections.abc import Sequence

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from semidff.checkpoints.building import unwrapped
from semidff.checkpoints.detectors import gives_detector_weights
from semidff.checkpoints.read import TRAINING_ONLY, read_checkpoint, stored_classes, weights_in
from semidff.checkpoints.safe import CheckpointError
from semidff.checkpoints.strict import load_strict, own_weights
from semidff.utils.logs import log_warning


@HOOKS.register_module()
class LoadPartsHook(Hook):
    """Load parts of the model strictly before the first iteration, unless the run is resumed.

    The parts are listed at the top level of the config, so that
    ``--cfg-options load_parts.detector.checkpoint=FILE`` can replace them::

        load_parts = dict(
            detector=dict(part='spatial.detector', checkpoint='work_dirs/stage_one/last.pth'),
            flow=dict(part='temporal', checkpoint='work_dirs/flow/last.pth', prefix='temporal'),
        )

    ``part`` is the dotted name of the module to load (empty: the whole model), ``prefix`` its name
    in the checkpoint (by default the checkpoint holds nothing but the part), and ``ignore`` lists
    prefixes of additional keys that the checkpoint may have (``['fc']``). The teacher of stage two
    is synchronized with the loaded detector, but that of a ``load_from`` checkpoint stays unless a
    part of the spatial module is loaded. If nothing gives the detector its weights, and so the
    teacher, a warning is logged.

    mmengine leaves out weights of another shape. The checkpoint of a resumed run must have exactly
    the weights of the model, a ``load_from`` checkpoint the weights of a teacher's detector that
    ``load_parts`` does not replace.
    """

    priority = 'HIGHEST'
    """Ahead of the hook that builds the optimizer of a resumed step, which needs the teacher."""

    def __init__(self) -> None:
        self._loaded_teacher: set[str] = set()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = unwrapped(runner.model)
        weights, wanted = weights_in(checkpoint), model.state_dict()
        checkpoint['state_dict'] = state = own_weights(weights, wanted, runner._load_from)[0]
        if hasattr(model, 'spatial') and not any(key.startswith('spatial.') for key in state):
            raise CheckpointError(
                f'load_from={runner._load_from}: is no checkpoint of a video detector, since it '
                'has no weights of spatial.detector; give the weights of an image detector as '
                'model.checkpoint or in load_parts'
            )
        has_features = any(key.startswith('teacher_features.') for key in state)
        if has_features and hasattr(model, 'own_teacher_features'):
            model.own_teacher_features()
        parts = [entry.get('part', '') for entry in (runner.cfg.get('load_parts') or {}).values()]
        if runner._resume:
            path = runner._load_from or f'the latest checkpoint of {runner.work_dir}'
            # Without a copy of the feature network, no step has trained it yet.
            ignore = () if has_features else ('teacher_features.',)
            load_strict(model, path, ignore=ignore, state=state)
        elif hasattr(model, 'teacher_task') and not {'', 'spatial'} & set(parts):
            replaced = [f'{part.removeprefix("spatial.")}.' for part in parts]
            load_strict(
                model.spatial,
                runner._load_from,
                'spatial module',
                prefix='spatial',
                ignore=replaced,
                state=state,
            )
        own = model.state_dict()
        for prefix in TRAINING_ONLY:
            # Of another split point, only a part of the teacher may be there.
            needed = [key for key in own if key.startswith(prefix)]
            if needed and all(k in state and state[k].shape == own[k].shape for k in needed):
                self._loaded_teacher.add(prefix.rstrip('.'))

    def before_train(self, runner: Runner) -> None:
        model = unwrapped(runner.model)
        if runner.iter > 0:
            if getattr(model, 'teacher_features', None) is not None:
                model.reset_teacher(keep={'teacher_task', *self._loaded_teacher})
            return
        entries = (runner.cfg.get('load_parts') or {}).values()
        for entry in entries:
            _load_part(model, **entry)
        if hasattr(model, 'reset_teacher'):
            if not gives_detector_weights(runner.cfg):
                log_warning(
                    'The teacher has random weights: set model.checkpoint, or a load_parts entry '
                    "with part='spatial.detector', to those of the image detector"
                )
            replaced = any(f'{entry.part}.'.startswith(('.', 'spatial.')) for entry in entries)
            model.reset_teacher(keep=() if replaced else self._loaded_teacher)


def _load_part(
    model: nn.Module, part: str, checkpoint: str, prefix: str = '', ignore: Sequence[str] = ()
) -> None:
    state, meta = read_checkpoint(checkpoint)
    classes = stored_classes(meta)
    if classes and not part.startswith('temporal'):
        model.dataset_meta = dict(classes=classes)
    load_strict(model.get_submodule(part), checkpoint, part or 'model', prefix, ignore, state)


@HOOKS.register_module()
class ClassNamesHook(Hook):
    """Store the class names of the image detector in the checkpoints of stage two.

    They are those of the checkpoint that ``model.checkpoint`` or ``load_parts`` loads, and stand
    where mmdet stores the class names of the training data.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        meta = checkpoint.get('meta') or {}
        if classes := stored_classes(meta):
            unwrapped(runner.model).dataset_meta = dict(classes=classes)
        own = getattr(runner.train_dataloader.dataset, 'metainfo', None) if runner._resume else {}
        if runner._resume and not (own or {}).get('classes'):
            meta['dataset_meta'] = own  # mmengine would warn that unlabeled videos have no classes

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        loaded = getattr(unwrapped(runner.model), 'dataset_meta', None)
        if loaded and not stored_classes(checkpoint['meta']):
            own = checkpoint['meta'].get('dataset_meta') or {}
            checkpoint['meta']['dataset_meta'] = {**own, **loaded}
