"""Class names of a model."""

import os.path as osp
import warnings
from collections.abc import Mapping

from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict

from .vid_json import load_vid_json


def class_names(cfg: Config | ConfigDict, meta: Mapping) -> tuple[str, ...]:
    """Return the class names of a config's model.

    Searched in this order: the checkpoint, the metainfo of the config's test data set, its type, its
    annotation file. Checkpoints of stage two have none, since it is trained on videos without labels.

    Args:
        meta: The checkpoint's ``meta``; empty without a checkpoint.

    Returns:
        The names; empty, with a warning, if there are none.
    """
    trained_on = {key.lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
    names = trained_on.get('classes') or meta.get('CLASSES') or _of_dataset(cfg)
    if not names:
        warnings.warn(
            'class names are neither in the checkpoint nor in the config, and the annotation file of '
            'its test data set does not exist; classes are named "class 0", "class 1", ... (give '
            "classes=('first', 'second', ...))",
            stacklevel=2,
        )
    return (names,) if isinstance(names, str) else tuple(names or ())


def _of_dataset(cfg: Config | ConfigDict) -> tuple[str, ...] | None:
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    names = (dataset.get('metainfo') or {}).get('classes')
    kind = DATASETS.get(dataset.type) if dataset.get('type') else None
    names = names or getattr(kind, 'METAINFO', {}).get('classes')
    if names or not dataset.get('ann_file'):
        return names
    ann_file = osp.join(dataset.get('data_root') or '', dataset.ann_file)
    if not osp.isfile(ann_file):
        return None
    return tuple(category['name'] for category in load_vid_json(ann_file)['categories'])
