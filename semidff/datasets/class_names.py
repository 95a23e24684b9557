"""Class names of a model."""

import os.path as osp
import warnings
from collections.abc import Mapping

from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict

from semidff.checkpoints.detectors import test_datasets
from semidff.checkpoints.read import stored_classes

from .vid_json import load_vid_json, match_classes


def class_names(cfg: Config | ConfigDict, meta: Mapping) -> tuple[str, ...]:
    """Return the class names of a config's model; none, with a warning, if there are none.

    Searched in this order: the checkpoint's ``meta``, the metainfo of the config's test data set,
    its type, its annotation file; then the same of the image detector's test data set.
    """
    found = (_of_dataset(dataset) for dataset in test_datasets(cfg))
    names = stored_classes(meta) or next(filter(None, found), None)
    if not names:
        warnings.warn(
            'class names are neither in the checkpoint nor in the config, and the annotation file '
            'of its test data set does not exist; classes are named "class 0", "class 1", ... '
            "(set classes=('first', 'second', ...))",
            stacklevel=2,
        )
    return (names,) if isinstance(names, str) else tuple(names or ())


def _of_dataset(dataset: dict) -> tuple[str, ...] | None:
    names = (dataset.get('metainfo') or {}).get('classes')
    name = '.'.join(filter(None, (dataset.get('_scope_'), dataset.get('type'))))
    kind = DATASETS.get(name) if dataset.get('type') else None
    names = names or getattr(kind, 'METAINFO', {}).get('classes')
    if names or not dataset.get('ann_file'):
        return names
    ann_file = osp.join(dataset.get('data_root') or '', dataset['ann_file'])
    if not osp.isfile(ann_file):
        return None
    return match_classes(load_vid_json(ann_file), None, ann_file)[0]
