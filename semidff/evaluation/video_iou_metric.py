"""Mean IoU of semantic segmentation on videos."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from semidff.datasets.transforms.frame_transforms import IGNORED
from semidff.utils.tables import text_table


@METRICS.register_module()
class VideoIoUMetric(BaseMetric):
    """mIoU as mmsegmentation's ``IoUMetric`` computes it, on the labeled frames of videos.

    Samples with ``key_distance`` are results at several distances from the key frame (protocol
    ``pairs``, DFF 5.2). Every metric is then the mean over the distances, and
    ``seg/mIoU_at/<distance>`` is the mIoU at each.
    """

    default_prefix = 'seg'
    takes_pairs = True

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        import_module('semidff.utils.mmseg_extra')
        self._iou = import_module('mmseg.evaluation').IoUMetric

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store each class's areas (intersection, union, prediction, label) in labeled frames."""
        for sample in data_samples:
            if sample.get('is_labeled', True):
                predicted = sample['pred_sem_seg']['data'].squeeze(0)
                label = sample['gt_sem_seg']['data'].squeeze(0).to(predicted)
                count = len(self.dataset_meta['classes'])
                areas = self._iou.intersect_and_union(predicted, label, count, IGNORED)
                self.results.append((sample.get('key_distance'), areas))

    def evaluate(self, size: int) -> dict:
        """Compute ``seg/mIoU``, ``mAcc``, ``aAcc``, ``IoU_<class>`` in 0..1; NaN: absent class."""
        # As in VIDMetric: mmengine would truncate the results of unequal shares.
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list) -> dict:
        """Compute the metrics of :meth:`evaluate`, without the prefix."""
        if not results:
            raise ValueError('is_labeled is false for all images in the annotation file')
        groups = defaultdict(list)
        for distance, areas in results:
            groups[distance].append(areas)
        each = {
            distance: self._iou.total_area_to_metrics(
                *map(sum, zip(*groups[distance], strict=True))
            )
            for distance in sorted(groups, key=lambda distance: distance or 0)
        }
        means = [
            dict(mIoU=np.nanmean(part['IoU']), mAcc=np.nanmean(part['Acc']), aAcc=part['aAcc'])
            for part in each.values()
        ]
        metrics = {key: float(np.mean([mean[key] for mean in means])) for key in means[0]}
        if None not in each:
            for distance, mean in zip(each, means, strict=True):
                metrics[f'mIoU_at/{distance}'] = float(mean['mIoU'])
        classes = self.dataset_meta['classes']
        ious = np.mean([part['IoU'] for part in each.values()], axis=0)
        metrics |= {f'IoU_{name}': float(iou) for name, iou in zip(classes, ious, strict=True)}
        table = [*((name, metrics[f'IoU_{name}']) for name in classes), ('mean', metrics['mIoU'])]
        rows = [('class', 'IoU'), *((name, f'{100 * value:.2f}') for name, value in table)]
        print_log('\n' + text_table(rows, footer=True), logger='current')
        return metrics
