"""Methods that run the spatial module alone: on every frame, or on key frames, whose boxes they
repeat or move.
"""

import copy
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch.nn.functional as F
from mmdet.structures import SampleList
from mmengine.structures import InstanceData

from semidff.datasets.video_readers import Frame
from semidff.filter.links import assign, others_than, overlaps

from .base import METHODS, VideoMethod

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes (n, 4) float64, scores (n,) and labels (n,) of a frame."""

MAX_DISTANCE = 2.0
"""Largest :func:`box_distance` of linked boxes.

Key frames are many frames apart, so fast and narrow objects do not overlap with themselves.
Requiring overlap, as trackers usually do, would weaken both baselines considerably.
"""

SCORE_WEIGHT = 0.5
"""Weight of the difference in score, which prevents links to a weak second box on the same object.
"""

_SMALL = 0.5  # height and width of the input of *small*, relative to that of key frames


@METHODS.register_module(name='frame')
class EveryFrame(VideoMethod):
    """The spatial module on every frame, the reference of all other methods."""

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        return [result for frame in frames for result in self.key([frame])]


class BoxMethod(VideoMethod):
    """A method that derives the boxes of non-key frames from those of key frames."""

    needs_boxes = True

    def key(self, frames: Sequence[Frame]) -> SampleList:
        results, name = super().key(frames), self.executor.model.spatial.prediction
        for frame, result in zip(frames, results, strict=True):
            # What a caller does to a result must not change later frames.
            frame.detections = copy.deepcopy(result.get(name))
        return results


@METHODS.register_module(name='copy')
class Copy(BoxMethod):
    """Repeats the predictions of the last key frame (semi-DFF Table 1)."""

    needs_boxes = reads_pixels = False

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        for frame in frames:
            repeated = copy.deepcopy(frame.key.detections)
            setattr(frame.sample, self.executor.model.spatial.prediction, repeated)
        return [frame.sample for frame in frames]


@METHODS.register_module(name='interpolate')
class Interpolate(BoxMethod):
    """Linear interpolation between the previous and the next key frame; offline.

    Detections of the two key frames are linked one to one within each class by IoU and center
    distance. Boxes and scores of linked pairs are interpolated linearly in time. The object of an
    unlinked detection appears or disappears between the two key frames: its box is repeated on the
    frames that are nearer to its key frame, a frame exactly in the middle belonging to the earlier
    one. After the last key frame of a video, its boxes are repeated.
    """

    needs_next, reads_pixels = True, False

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        for key, own in by_interval(frames):
            found = [arrays_of(key.detections)] * len(own)
            if key.next:
                found = interpolated(key, own)
            for frame, arrays in zip(own, found, strict=True):
                frame.sample.pred_instances = instances_like(key.detections, *arrays)
        return [frame.sample for frame in frames]


def by_interval(frames: Sequence[Frame]) -> list[tuple[Frame, list[Frame]]]:
    """Return the key frame and the frames of each interval, given consecutive non-key frames."""
    groups = groupby(frames, lambda frame: id(frame.key))
    return [(interval[0].key, interval) for interval in (list(group) for _, group in groups)]


def interpolated(key: Frame, frames: Sequence[Frame]) -> list[Arrays]:
    """Return the detections of non-key frames between a key frame and the next key frame."""
    ends = arrays_of(key.detections), arrays_of(key.next.detections)
    all_frames = list(interpolate(*ends, key.next.number - key.number - 1))
    return [all_frames[frame.position - 1] for frame in frames]


def interpolate(before: Arrays, after: Arrays, count: int) -> Iterator[Arrays]:
    """Yield the detections of the ``count`` non-key frames from one key frame to the next, by
    descending score.
    """
    rows, columns = link(before, after)
    for time in (position / (count + 1) for position in range(1, count + 1)):
        nearer, linked = (before, rows) if time <= 0.5 else (after, columns)
        single = others_than(linked, len(nearer[1]))
        boxes = (1 - time) * before[0][rows] + time * after[0][columns]
        scores = (1 - time) * before[1][rows] + time * after[1][columns]
        boxes = np.concatenate([boxes, nearer[0][single]])
        scores = np.concatenate([scores, nearer[1][single]])
        labels = np.concatenate([before[2][rows], nearer[2][single]])
        order = np.argsort(-scores, kind='stable')
        yield boxes[order], scores[order], labels[order]


@METHODS.register_module(name='track')
class Track(VideoMethod):
    """Detections on key frames alone, moved by sparse optical flow
    (:class:`~semidff.filter.TrackFilter`); no training.

    All non-key frames are tracked, so that results are filtered: causally, unless both ways.
    """

    needs_boxes = key_only = True

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        raise NotImplementedError('non-key frames are tracked')


@METHODS.register_module(name='small')
class Small(VideoMethod):
    """The detector itself on non-key frames, at half the height and width of its input; no
    training.

    It suits light detectors, for which propagation costs as much as detection.
    """

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        results = []
        for frame in frames:
            image, sample = frame.inputs, frame.sample
            size = [max(round(side * _SMALL), 1) for side in image.shape[1:]]
            scale = np.array(size[::-1]) / image.shape[:0:-1]
            options = dict(size=size, mode='bilinear', antialias=True)
            small = F.interpolate(image[None].float(), **options)[0].round().to(image.dtype)
            shapes = {
                name: (*(round(side * _SMALL) for side in sample.get(name)[:2]),)
                for name in ('img_shape', 'pad_shape')
                if name in sample
            }
            sample.set_metainfo({**shapes, 'scale_factor': tuple(scale * sample.scale_factor)})
            inputs, samples = self.executor.model.preprocess([small], [sample])
            results += self.executor.predict_key(inputs, samples)[0]
        return results


def instances_like(template: InstanceData, bboxes, scores, labels) -> InstanceData:
    """Return instances from arrays, with the dtypes and on the device of ``template``."""
    return InstanceData(
        bboxes=template.bboxes.new_tensor(bboxes).reshape(-1, 4),
        scores=template.scores.new_tensor(scores),
        labels=template.labels.new_tensor(labels),
    )


def arrays_of(instances: InstanceData) -> Arrays:
    """Return copies of boxes, scores and labels."""
    # Not instances.cpu(), which would copy masks, too.
    boxes, scores, labels = (
        instances[name].cpu().numpy() for name in ('bboxes', 'scores', 'labels')
    )
    return boxes.astype(np.float64), scores.copy(), labels.copy()


def box_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (1 - IoU) + distance of the centers in mean diagonals, (n, m), of boxes (n, 4) and (m,
    4), xyxy.
    """
    (center, size), (other, other_size) = (
        ((boxes[:, :2] + boxes[:, 2:]) / 2, np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=-1))
        for boxes in (first, second)
    )
    apart = np.linalg.norm(center[:, None] - other, axis=-1)
    diagonal = (size[:, None] + other_size) / 2
    return 1 - overlaps(first, second) + apart / np.maximum(diagonal, 1e-6)


def link(
    first: Arrays, second: Arrays, max_distance: float = MAX_DISTANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Link boxes one to one within each class at the least total cost (Hungarian); return indices
    into both.
    """
    distance = box_distance(first[0], second[0])
    cost = distance + SCORE_WEIGHT * np.abs(first[1][:, None] - second[1])
    allowed = (first[2][:, None] == second[2]) & (distance <= max_distance)
    return assign(max_distance + SCORE_WEIGHT - cost, allowed)
