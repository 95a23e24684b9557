"""The stage behind the detection: the filter of tracks on the results of one stream, with
identities and masks."""

import copy
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools.mask import decode, encode
from torch import Tensor

from semidff.datasets.video_readers import Frame
from semidff.filter import Tracked, VideoFilter

from .methods.boxes import arrays_of, instances_like
from .schedule import LIGHT, TRACKED


class Observation(NamedTuple):
    """What the filter takes of a frame.

    Attributes:
        arguments: Those of :meth:`~semidff.filter.VideoFilter.push`.
        template: Boxes, scores and labels of the detections, whose types results have; None on a
            tracked frame.
        masks: Their masks as run-length codes; None without masks.
    """

    arguments: tuple
    template: InstanceData | None = None
    masks: list[dict] | None = None


class Follow:
    """Filters the results of a stream, see :class:`~semidff.filter.TrackFilter`.

    Results have ``instances_id`` (identities, see :class:`~semidff.filter.Tracked`), and masks
    where the detections have some, moved with their boxes. Other fields of a detector's results are
    left out, except with ``identities``.

    Args:
        num_classes: Number of classes of the detector.
        kind: A filter of :data:`~semidff.inference.point.FILTERS`; None: results are those of the
            method.
        ahead: See :class:`~semidff.filter.VideoFilter`.
    """

    def __init__(self, num_classes: int, kind: str | None, ahead: int) -> None:
        self.kind = kind
        self._filter = VideoFilter(num_classes, kind == 'both', ahead)
        self._waiting: deque[Frame] = deque()
        self._template: InstanceData | None = None
        self._masks: dict[int, list[dict]] = {}  # of each frame, run-length codes
        self._count = 0

    def push(self, frame: Frame) -> Iterator[Frame]:
        """Take the next frame, with its result unless it is tracked; yield the frames whose results
        are final."""
        if self.kind is None:
            yield frame
            return
        if frame.begins_scene:
            yield from self._finished(self._filter.new_scene())
        self._waiting.append(frame)
        observation = self.observed(frame)
        if self.kind == 'identities':
            yield self._named(*self.advance(observation))
            return
        if frame.kind != TRACKED:
            del frame.sample.pred_instances  # Masks would wait as long as the frame.
        yield from self._finished(self.advance(observation))

    def flush(self) -> Iterator[Frame]:
        """Yield the frames that wait for later ones."""
        return self._finished(self._filter.flush())

    def observed(self, frame: Frame) -> Observation:
        """Return what the filter takes of a frame."""
        size = tuple(frame.sample.ori_shape[:2])
        if frame.kind == TRACKED:
            return Observation((frame.picture, size))
        found, masks = frame.sample.pred_instances, None
        arrays = arrays_of(found)
        if 'masks' in found and self.kind != 'identities':
            pixels = found.masks.cpu().numpy().astype(np.uint8)
            masks = encode(np.asfortranarray(pixels.transpose(1, 2, 0)))
        template = InstanceData(bboxes=found.bboxes, scores=found.scores, labels=found.labels)
        return Observation((frame.picture, size, arrays, frame.kind == LIGHT), template, masks)

    def advance(self, observation: Observation) -> list[Tracked]:
        """Take the next frame as the filter sees it; return the objects of the frames that are
        final."""
        if observation.template is not None:
            self._template = observation.template
        if observation.masks is not None:
            self._masks[self._count] = observation.masks
        self._count += 1
        return self._filter.push(*observation.arguments)

    def fork(self) -> 'Follow':
        """Return a copy of a causal stage, which goes on by itself."""
        other = copy.copy(self)
        other._filter, other._masks = self._filter.fork(), dict(self._masks)
        other._waiting = deque()
        return other

    def take_identities(self, other: 'Follow') -> None:
        """Reuse the track ids that another stage, which has taken the same frames, assigned to the
        same objects."""
        self._filter.take_identities(other._filter)

    def _named(self, tracked: Tracked) -> Frame:
        """Return the frame with the method's result and the identities of the tracks to which its
        boxes belong."""
        frame = self._waiting.popleft()
        found = frame.sample.pred_instances
        found.instances_id = torch.full_like(found.labels, -1)
        numbers, indices = tracked.sources.T
        own = (numbers == self._count - 1) & (tracked.ids >= 0)
        found.instances_id[indices[own]] = found.labels.new_tensor(tracked.ids[own])
        return frame

    def _finished(self, results: list[Tracked]) -> Iterator[Frame]:
        """Yield the frames of final results. Masks are decoded one frame at a time."""
        for tracked in results:
            frame = self._waiting.popleft()
            height, width = frame.sample.ori_shape[:2]
            boxes = np.clip(tracked.boxes, 0, [width, height, width, height])
            inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
            template, kept = self._template, Tracked(*(values[inside] for values in tracked))
            instances = instances_like(template, boxes[inside], kept.scores, kept.labels)
            instances.instances_id = template.labels.new_tensor(kept.ids)
            if self._masks:
                instances.masks = self._moved_masks(kept, (height, width))
                first = self._count - len(self._waiting)
                used = {number for number, _ in kept.sources.tolist()}
                self._masks = {n: m for n, m in self._masks.items() if n in used or n >= first}
            frame.sample.pred_instances = instances
            yield frame

    def _moved_masks(self, objects: Tracked, size: tuple[int, int]) -> Tensor:
        """Return masks (n, H, W), moved with their boxes from where they were detected.

        An object whose last detection has no mask has that of its box.
        """
        result = torch.zeros((len(objects.boxes), *size), dtype=torch.bool)
        places = zip(objects.sources.tolist(), objects.source_boxes, objects.boxes, strict=True)
        for moved, ((number, index), old, new) in zip(result, places, strict=True):
            if number not in self._masks:
                left, top, right, bottom = new.round().astype(int).tolist()
                moved[top:bottom, left:right] = True
                continue
            mask = decode(self._masks[number][index])
            scale = (new[2:] - new[:2]) / np.maximum(old[2:] - old[:2], 1e-6)
            shift = new[:2] - scale * old[:2]
            matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
            if (old != new).any():
                mask = cv2.warpAffine(mask, matrix, size[::-1], flags=cv2.INTER_NEAREST)
            moved[:] = torch.from_numpy(mask)
        return result
