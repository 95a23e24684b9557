"""ImageNet VID metric as an mmengine metric."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from semidff.datasets.ilsvrc_format import write_detections
from semidff.utils.logs import log_warning

from .motion_speed import SPEEDS
from .vid_ap import Detections
from .vid_evaluator import VIDEvaluator, VIDResult


@dataclass(frozen=True)
class FrameResult:
    """Detections of one frame: ``labels`` (n,), ``scores`` (n,) and ``boxes`` (n, 4), and its identity.

    ``distance`` is the number of frames since the key frame with protocol ``pairs``, else None.
    """

    distance: int | None
    image: int | None
    video_frame: tuple[int | None, int | None]
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


@METRICS.register_module()
class VIDMetric(BaseMetric):
    """mAP at IoU 0.5 as the ImageNet VID evaluator computes it, AP per class, and mAP by motion speed.

    Ground truth comes from the annotation file, not from the data samples. Samples are identified by ``img_id``, or by
    ``video_id`` and ``frame_id``. Frames are sorted after collection, and a frame that occurs twice (a sampler's
    padding) is used once, so that the metrics do not depend on the number of processes. Frames with ``is_labeled:
    false`` in the annotation file are not evaluated.

    The annotation file is read when ``dataset_meta`` is set, which loops do before the first frame.

    Samples with ``key_distance`` are results at several distances from the key frame (protocol ``pairs``, DFF 5.2).
    Every metric is then the mean over the distances, and ``vid/mAP_at/<distance>`` is the mAP at each.

    Args:
        ann_file: COCO-VID JSON file of the evaluated videos.
        outfile: File for the detections in ILSVRC's submission format, written before they are evaluated; None writes
            no file.
        class_mean: ``'present'``: mAP is the mean over classes with ground truth; ``'imagenet'``: over all classes,
            see :func:`~semidff.evaluation.vid_ap.mean_ap`.
        per_video: Whether to add the mAP of each video, ``vid/mAP_of/<video name>``.
        key_interval: Adds ``vid/recall_new``, the share of the objects that a propagated frame cannot know from its
            key frame, one every ``key_interval`` frames, that are detected with a score of at least 0.3. The method
            may use other key frames.
    """

    default_prefix = 'vid'
    takes_pairs = True

    def __init__(
        self,
        ann_file: str,
        outfile: str | None = None,
        class_mean: str = 'present',
        per_video: bool = False,
        key_interval: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if class_mean not in ('present', 'imagenet'):
            raise ValueError(f"class_mean is {class_mean!r}; choose 'present' or 'imagenet'")
        self.ann_file = ann_file
        self.outfile = outfile
        self.class_mean = class_mean
        self.per_video = per_video
        self.key_interval = key_interval
        self._size = 0
        self._evaluator: VIDEvaluator | None = None

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = dataset_meta
        # now, since an error after the last frame would cost the whole test
        if is_main_process():
            classes = (dataset_meta or {}).get('classes')
            self._evaluator = VIDEvaluator(self.ann_file, classes, key_interval=self.key_interval)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the predictions of some frames, as dicts.

        They have ``pred_instances`` with bboxes (n, 4) in pixels of the original image, scores (n,) and labels (n,),
        and the frame's identity.
        """
        for sample in data_samples:
            self._check_frame(sample)
            if self.outfile is not None and sample.get('key_distance') is not None:
                raise ValueError(
                    f"{self.outfile} cannot be written: with protocol 'pairs' each frame has detections at several "
                    "distances; use protocol 'dense'"
                )
            predicted = sample['pred_instances']
            self.results.append(
                FrameResult(
                    sample.get('key_distance'),
                    sample.get('img_id'),
                    (sample.get('video_id'), sample.get('frame_id')),
                    _array(predicted['labels'], np.int32),
                    _array(predicted['scores'], np.float32),
                    _array(predicted['bboxes'], np.float32).reshape(-1, 4),
                )
            )

    def _check_frame(self, sample: dict) -> None:
        """Check that the image of an id has the same name in the annotation file: ids of most files begin with 1."""
        image, path = sample.get('img_id'), sample.get('img_path')
        if self._evaluator is None or image is None or path is None:
            return
        at = self._evaluator.positions.get(image)
        name = None if at is None else self._evaluator.frames[at]['file_name']
        if name is not None and not Path(path).as_posix().endswith(Path(name).as_posix()):
            raise ValueError(
                f'{path}: its id {image} is that of {name} in {self.ann_file}; set test_evaluator.ann_file to the '
                'ann_file of the test data set'
            )

    def evaluate(self, size: int) -> dict:
        """Compute ``vid/mAP``, ``vid/mAP_slow``, ``_medium``, ``_fast`` and ``vid/AP_<class>``, in 0..1.

        ``size`` is the number of samples of the dataset; of labeled samples where they have ``key_distance``.
        """
        self._size = size
        # mmengine truncates the interleaved results to `size`, which drops frames when the processes have unequal
        # shares.
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list) -> dict:
        """Compute the metrics of :meth:`evaluate`, without the prefix."""
        evaluator = self._evaluator
        distances = sorted({frame.distance for frame in results}) or [None]
        groups = ([frame for frame in results if frame.distance == d] for d in distances)
        outcomes = [self._evaluate(group, evaluator) for group in groups]
        result = VIDResult.average([outcome for outcome, _ in outcomes])
        metrics = {'mAP': result.mean(self.class_mean)}
        metrics.update({f'mAP_{speed}': result.mean_of_speed(speed) for speed in SPEEDS})
        if self.key_interval:
            metrics['recall_new'] = result.new_recall
        print_log('\n' + result.table(metrics), logger='current')
        if distances != [None]:
            for distance, (outcome, _) in zip(distances, outcomes, strict=True):
                metrics[f'mAP_at/{distance}'] = outcome.mean(self.class_mean)
        for name, value in zip(result.classes, result.ap, strict=True):
            metrics[f'AP_{name}'] = float(value)
        for video in outcomes[0][1]:
            metrics[f'mAP_of/{video}'] = float(np.mean([videos[video] for _, videos in outcomes]))
        return metrics

    def _evaluate(
        self, results: list[FrameResult], evaluator: VIDEvaluator
    ) -> tuple[VIDResult, dict[str, float]]:
        """Evaluate one result per frame; also each video's mAP with ``per_video``."""
        found, unknown = {}, []
        for frame in results:
            at = evaluator.positions.get(frame.video_frame if frame.image is None else frame.image)
            if at is None:
                unknown.append(frame)
            # Pairs of unlabeled frames occur where the samples have no is_labeled.
            elif frame.distance is None or evaluator.labeled[at]:
                found.setdefault(at, frame)
        frames = sorted(found.items())
        only = np.array([at for at, _ in frames], np.int32)
        if frames:
            columns = zip(*((f.labels, f.scores, f.boxes) for _, f in frames), strict=True)
            counts = [len(frame.labels) for _, frame in frames]
            detections = Detections(np.repeat(only, counts), *map(np.concatenate, columns))
            if self.outfile is not None:
                ends = np.searchsorted(detections.frames, only[1:])
                columns = (detections.labels, detections.scores, detections.boxes)
                parts = (np.split(column, ends) for column in columns)
                numbers = evaluator.frame_numbers[only]
                write_detections(self.outfile, zip(numbers, *parts, strict=True))
                print_log(f'Detections written to {self.outfile}', logger='current')
        self._check_complete(found, unknown, evaluator)
        result, videos = evaluator.evaluate(detections, only), {}
        if self.per_video:
            only = only[evaluator.labeled[only]]
            names = np.array([evaluator.frames[at]['video_name'] for at in only])
            for name in dict.fromkeys(names.tolist()):
                alone = evaluator.evaluate(detections, only[names == name])
                videos[name] = alone.mean(self.class_mean)
        return result, videos

    def _check_complete(
        self, found: dict[int, FrameResult], unknown: list[FrameResult], evaluator: VIDEvaluator
    ) -> None:
        if unknown:
            raise ValueError(
                f'the result with img_id {unknown[0].image} and (video_id, frame_id) {unknown[0].video_frame} is of no '
                f'frame of {self.ann_file}; use the same ann_file for metric and dataset, and '
                'PackVideoFrame in the pipeline'
            )
        labeled = np.flatnonzero(evaluator.labeled)
        missing = [evaluator.frames[at]['file_name'] for at in labeled if at not in found]
        if len(found) != self._size:
            raise ValueError(
                f'results of {len(found)} different frames for a dataset of {self._size}; '
                f'{len(missing)} of {self.ann_file} have none, first {missing[:1]}'
            )
        if missing:
            count = f'{len(labeled) - len(missing)} of {len(labeled)}'
            log_warning(f'Only {count} frames of {self.ann_file} are evaluated')


def _array(values: Any, dtype: type) -> np.ndarray:
    if hasattr(values, 'detach'):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype)
