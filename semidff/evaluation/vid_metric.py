"""ImageNet VID metric as an mmengine metric."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from semidff.datasets.ilsvrc_format import write_detections
from semidff.utils.logs import log_warning

from .motion_speed import SPEEDS
from .vid_ap import Detections
from .vid_evaluator import VIDEvaluator, VIDResult


@dataclass(frozen=True)
class FrameResult:
    """Detections of a frame; no tuple, of which mmengine would make a plain tuple.

    Attributes:
        distance: Frames since the key frame with protocol ``pairs``, else None.
        position: Position of the frame in the evaluation order.
        labels, scores: (n,)
        boxes: (n, 4)
    """

    distance: int | None
    position: int
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


@METRICS.register_module()
class VIDMetric(BaseMetric):
    """mAP at IoU 0.5 by the rules of ImageNet VID, AP per class, and mAP by motion speed.

    Ground truth comes from the annotation file, not from the data samples. Samples are identified
    by ``img_id``, or by ``video_id`` and ``frame_id``. Frames are sorted after collection, and a
    frame that occurs twice (a sampler's padding) is used once, so that the metrics do not depend on
    the number of processes. Frames with ``is_labeled: false`` in the annotation file are not
    evaluated. The file is read when ``dataset_meta`` is set, which loops do before the first frame.

    Samples with ``key_distance`` are results at several distances from the key frame (protocol
    ``pairs``, DFF 5.2). Every metric is then the mean over the distances, and
    ``vid/mAP_at/<distance>`` is the mAP at each.

    Args:
        ann_file: COCO-VID JSON file of the evaluated videos.
        outfile: File for the detections in ILSVRC's submission format, written before they are
            evaluated; None writes no file.
        class_mean: ``'present'``: mAP is the mean over classes with ground truth; ``'imagenet'``:
            over all classes, see :func:`~semidff.evaluation.vid_ap.mean_ap`.
        per_video: Whether to add the mAP of each video, ``vid/mAP_of/<video name>``.
    """

    default_prefix = 'vid'
    takes_pairs = True

    def __init__(
        self,
        ann_file: str,
        outfile: str | None = None,
        class_mean: str = 'present',
        per_video: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.ann_file, self.outfile = ann_file, outfile
        self.class_mean, self.per_video = class_mean, per_video

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = dataset_meta
        self._evaluator = VIDEvaluator(self.ann_file, (dataset_meta or {}).get('classes'))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the predictions of some frames, as dicts.

        They have ``pred_instances`` with bboxes (n, 4) in pixels of the original image, scores (n,)
        and labels (n,), and the frame's identity.
        """
        for sample in data_samples:
            position, distance = self._position(sample), sample.get('key_distance')
            if self.outfile is not None and distance is not None:
                raise ValueError(
                    f"{self.outfile} cannot be written: with protocol 'pairs' each frame has "
                    "detections at several distances; use protocol 'dense'"
                )
            # Pairs of unlabeled frames occur where the samples have no is_labeled.
            if distance is None or self._evaluator.labeled[position]:
                predicted = sample['pred_instances']
                arrays = (
                    torch.as_tensor(predicted[name]).cpu().numpy().astype(kind)
                    for name, kind in (('labels', 'i4'), ('scores', 'f4'), ('bboxes', 'f4'))
                )
                self.results.append(FrameResult(distance, position, *arrays))

    def _position(self, sample: dict) -> int:
        """Return the position of a frame; its image must have the name of the annotation file."""
        image, path = sample.get('img_id'), sample.get('img_path')
        key = (sample.get('video_id'), sample.get('frame_id')) if image is None else image
        position = self._evaluator.positions.get(key)
        if position is None:
            raise ValueError(f'{self.ann_file}: no frame has the id {key} of a result')
        name = self._evaluator.frames[position]['file_name']
        if path is not None and not Path(path).as_posix().endswith(Path(name).as_posix()):
            raise ValueError(
                f'{path}: its id {key} is that of {name} in {self.ann_file}; set '
                'test_evaluator.ann_file to the ann_file of the test data set'
            )
        return position

    def evaluate(self, size: int) -> dict:
        """Compute ``vid/mAP``, ``mAP_slow``, ``mAP_medium``, ``mAP_fast`` and ``AP_<class>``, 0..1.

        ``size`` is the number of samples of the dataset; with protocol ``pairs``, of labeled
        samples.
        """
        self._size = size
        # mmengine truncates the interleaved results to `size`, which drops frames when the
        # processes have unequal shares.
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list[FrameResult]) -> dict:
        """Compute the metrics of :meth:`evaluate`, without the prefix."""
        groups = defaultdict(dict)
        for frame in results:
            groups[frame.distance].setdefault(frame.position, frame)
        distances = sorted(groups, key=lambda distance: distance or 0) or [None]
        outcomes = [self._evaluate(groups[distance]) for distance in distances]
        result = VIDResult.average([outcome for outcome, _ in outcomes])
        metrics = {'mAP': result.mean(self.class_mean)}
        metrics.update({f'mAP_{speed}': result.mean_of_speed(speed) for speed in SPEEDS})
        print_log('\n' + result.table(metrics), logger='current')
        if distances != [None]:
            for distance, (outcome, _) in zip(distances, outcomes, strict=True):
                metrics[f'mAP_at/{distance}'] = outcome.mean(self.class_mean)
        for name, value in zip(result.classes, result.ap, strict=True):
            metrics[f'AP_{name}'] = float(value)
        for video in outcomes[0][1]:
            metrics[f'mAP_of/{video}'] = float(np.mean([videos[video] for _, videos in outcomes]))
        return metrics

    def _evaluate(self, found: dict[int, FrameResult]) -> tuple[VIDResult, dict[str, float]]:
        """Evaluate a result per frame, by position; also each video's mAP with ``per_video``."""
        evaluator, frames = self._evaluator, [found[position] for position in sorted(found)]
        only = np.array([frame.position for frame in frames])
        if self.outfile is not None:
            numbers = evaluator.frame_numbers
            rows = ((numbers[f.position], f.labels, f.scores, f.boxes) for f in frames)
            write_detections(self.outfile, rows)
            print_log(f'Detections written to {self.outfile}', logger='current')
        self._check_complete(found)
        counts = [len(frame.labels) for frame in frames]
        columns = zip(*((f.labels, f.scores, f.boxes) for f in frames), strict=True)
        detections = Detections(np.repeat(only, counts), *map(np.concatenate, columns))
        result, videos = evaluator.evaluate(detections, only), {}
        if self.per_video:
            only = only[evaluator.labeled[only]]
            names = np.array([evaluator.frames[at]['video_name'] for at in only])
            for name in dict.fromkeys(names.tolist()):
                alone = evaluator.evaluate(detections, only[names == name])
                videos[name] = alone.mean(self.class_mean)
        return result, videos

    def _check_complete(self, found: dict[int, FrameResult]) -> None:
        labeled = np.flatnonzero(self._evaluator.labeled)
        missing = [self._evaluator.frames[at]['file_name'] for at in labeled if at not in found]
        if len(found) != self._size:
            raise ValueError(
                f'results of {len(found)} different frames for a dataset of {self._size}; '
                f'{len(missing)} of {self.ann_file} have none, first {missing[:1]}'
            )
        if missing:
            count = f'{len(labeled) - len(missing)} of {len(labeled)}'
            log_warning(f'Only {count} frames of {self.ann_file} are evaluated')
