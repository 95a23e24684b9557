"""ImageNet VID's metric as a test evaluator of mmengine."""

import logging
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from terminaltables import AsciiTable

from semidff.datasets.ilsvrc_format import write_detections

from .motion_speed import SPEEDS
from .vid_ap import Detections
from .vid_evaluator import VIDEvaluator, VIDResult


@dataclass(frozen=True)
class FrameResult:
    """Detections of one frame, and which frame it is.

    Attributes:
        distance: Frames since its key frame where each frame comes at several; else None.
        image: ``img_id``, or None.
        place: ``video_id`` and ``frame_id``.
        labels: (n,) int.
        scores: (n,) float.
        boxes: (n, 4) float.
    """

    distance: int | None
    image: int | None
    place: tuple[int | None, int | None]
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


@METRICS.register_module()
class VIDMetric(BaseMetric):
    """mAP at IoU 0.5 as the ImageNet VID evaluator has it, AP per class, and mAP by motion speed.

    Ground truth comes from the json, not from the data samples. A sample is known by ``img_id``, or
    by ``video_id`` and ``frame_id``; frames are put in order after collection and a frame that was
    seen twice (a sampler's padding) counts once, so any number of processes gives the same figures.
    Frames with ``is_labeled: false`` in the json do not count.

    Samples with ``key_distance`` are results at several distances from the key frame (protocol
    ``pairs``, DFF 5.2). Every figure is then the mean over the distances of what it is at each, and
    there are the mAP at each, ``vid/mAP_at/<distance>``.

    Args:
        ann_file: COCO-VID json of the evaluated videos.
        outfile: Where to write the detections in ILSVRC's submission format; None for not at all.
        class_mean: ``'present'``: mAP is the mean over classes with ground truth; ``'imagenet'``:
            over all, see :func:`~semidff.evaluation.vid_ap.mean_ap`.
        per_video: Whether there is also the mAP of each video, ``vid/mAP_of/<video name>``.
        backend_args: Storage backend of the json.
        collect_device: As mmengine's.
        prefix: As mmengine's, ``'vid'`` by default.
        collect_dir: As mmengine's.

    Raises:
        ValueError: Unknown ``class_mean``; in evaluation: a frame is unknown, frames are missing,
            or ``outfile`` is asked for where there are results at several distances.
    """

    default_prefix = 'vid'

    def __init__(
        self,
        ann_file: str,
        outfile: str | None = None,
        class_mean: str = 'present',
        per_video: bool = False,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        if class_mean not in ('present', 'imagenet'):
            raise ValueError(f"class_mean must be 'present' or 'imagenet', got {class_mean!r}")
        self.ann_file = ann_file
        self.outfile = outfile
        self.class_mean = class_mean
        self.per_video = per_video
        self.backend_args = backend_args
        self._size = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps the predictions of some frames.

        Args:
            data_batch: Not used.
            data_samples: Predictions as dicts: ``pred_instances`` with bboxes (n, 4) in pixels of
                the original image, scores (n,), labels (n,); and the frame's identity.
        """
        for sample in data_samples:
            if self.outfile is not None and sample.get('key_distance') is not None:
                raise ValueError(
                    f"{self.outfile} cannot be written: protocol 'pairs' gives each frame's "
                    "detections several times; write them with protocol 'dense'"
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

    def evaluate(self, size: int) -> dict:
        """Collects the results of all processes and computes the figures.

        Args:
            size: Number of samples of the dataset; of labeled ones where samples have
                ``key_distance``.

        Returns:
            ``vid/mAP``, ``vid/mAP_slow``, ``vid/mAP_medium``, ``vid/mAP_fast`` and
            ``vid/AP_<class>``, in 0..1.
        """
        self._size = size
        # mmengine cuts the interleaved results at `size`, which drops frames when the processes
        # had unequal shares
        return super().evaluate(sys.maxsize)

    def compute_metrics(self, results: list) -> dict:
        """Figures of the collected results.

        Args:
            results: What :meth:`process` kept, of all processes.

        Returns:
            As :meth:`evaluate`, without the prefix.
        """
        classes = (self.dataset_meta or {}).get('classes')
        evaluator = VIDEvaluator(self.ann_file, classes, self.backend_args)
        by_distance: dict[int | None, list[FrameResult]] = defaultdict(list)
        for result in results:
            by_distance[result.distance].append(result)
        distances = sorted(by_distance) or [None]
        outcomes = [self._evaluate(by_distance[d], evaluator) for d in distances]
        result = VIDResult.average([outcome for outcome, _ in outcomes])
        figures = {'mAP': result.mean(self.class_mean)}
        figures.update({f'mAP_{speed}': result.mean_of_speed(speed) for speed in SPEEDS})
        print_log('\n' + result_table(result, figures), logger='current')
        if distances != [None]:
            figures.update(
                {
                    f'mAP_at/{distance}': outcome.mean(self.class_mean)
                    for distance, (outcome, _) in zip(distances, outcomes, strict=True)
                }
            )
        figures.update(
            {
                f'AP_{name}': float(value)
                for name, value in zip(result.classes, result.ap, strict=True)
            }
        )
        for video in outcomes[0][1]:
            figures[f'mAP_of/{video}'] = float(np.mean([videos[video] for _, videos in outcomes]))
        return figures

    def _evaluate(
        self, results: list[FrameResult], evaluator: VIDEvaluator
    ) -> tuple[VIDResult, dict[str, float]]:
        """Figures of one result per frame; and each video's mAP where it is wanted."""
        frames = self._in_order(results, evaluator)
        if self.outfile is not None:
            numbers = evaluator.frame_numbers
            rows = ((numbers[at], f.labels, f.scores, f.boxes) for at, f in frames)
            write_detections(self.outfile, rows)
            print_log(f'Detections are in {self.outfile}', logger='current')
        only = np.array([at for at, _ in frames], np.int32)
        detections = Detections(
            np.repeat(only, [len(frame.labels) for _, frame in frames]),
            np.concatenate([frame.labels for _, frame in frames]),
            np.concatenate([frame.scores for _, frame in frames]),
            np.concatenate([frame.boxes for _, frame in frames]),
        )
        videos = self._by_video(evaluator, detections, only) if self.per_video else {}
        return evaluator.evaluate(detections, only), videos

    def _by_video(
        self, evaluator: VIDEvaluator, detections: Detections, only: np.ndarray
    ) -> dict[str, float]:
        """mAP of each video, as if there were no other."""
        only = only[evaluator.labeled[only]]
        names = np.array([evaluator.frames[at]['video_name'] for at in only])
        return {
            name: evaluator.evaluate(detections, only[names == name]).mean(self.class_mean)
            for name in dict.fromkeys(names.tolist())
        }

    def _in_order(
        self, results: list[FrameResult], evaluator: VIDEvaluator
    ) -> list[tuple[int, FrameResult]]:
        """Each frame's results once, with its position in the evaluation order, ascending."""
        by_image = {frame['id']: at for at, frame in enumerate(evaluator.frames)}
        by_frame = {(f['video_id'], f['frame_id']): at for at, f in enumerate(evaluator.frames)}
        found: dict[int, FrameResult] = {}
        for frame in results:
            at = by_frame.get(frame.place) if frame.image is None else by_image.get(frame.image)
            if at is None:
                raise ValueError(
                    f'a result with img_id {frame.image} and (video_id, frame_id) {frame.place} is '
                    f"no frame of {self.ann_file}; the metric's and the dataset's ann_file must be "
                    "the same, and PackDetInputs' meta_keys must have img_id"
                )
            # where samples do not say so themselves, frames without labels were paired, too
            if frame.distance is None or evaluator.labeled[at]:
                found.setdefault(at, frame)
        self._check_complete(found, evaluator)
        return sorted(found.items(), key=lambda item: item[0])

    def _check_complete(self, found: dict[int, FrameResult], evaluator: VIDEvaluator) -> None:
        missing = [
            f['file_name']
            for at, f in enumerate(evaluator.frames)
            if at not in found and evaluator.labeled[at]
        ]
        if len(found) != self._size:
            raise ValueError(
                f'results of {len(found)} different frames for a dataset of {self._size}; '
                f'{len(missing)} of {self.ann_file} have none, first {missing[:1]}'
            )
        if missing:
            total = np.count_nonzero(evaluator.labeled)
            print_log(
                f'Only {total - len(missing)} of {total} frames of {self.ann_file} are evaluated',
                logger='current',
                level=logging.WARNING,
            )


def result_table(result: VIDResult, means: dict[str, float]) -> str:
    """The figures in per cent as a text table.

    Args:
        result: AP of the classes.
        means: Name and mean of further lines.

    Returns:
        A table with a line per class, and one per mean; ``-`` where undefined.
    """
    rows = [['class', 'boxes', 'AP', *SPEEDS]]
    for index, name in enumerate(result.classes):
        speeds = [result.speed_ap[speed][index] for speed in SPEEDS]
        rows.append(
            [name, str(result.num_boxes[index]), *map(_percent, (result.ap[index], *speeds))]
        )
    speeds = [means[f'mAP_{speed}'] for speed in SPEEDS]
    rows.append(['mean', str(result.num_boxes.sum()), *map(_percent, (means['mAP'], *speeds))])
    table = AsciiTable(rows)
    table.inner_footing_row_border = True
    return table.table


def _percent(value: float) -> str:
    return '-' if np.isnan(value) else f'{100 * value:.2f}'


def _array(values: Any, dtype: type) -> np.ndarray:
    """A tensor or array as a numpy array."""
    if hasattr(values, 'detach'):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype)
