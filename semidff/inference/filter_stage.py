"""The stage after the method: the filter of tracks, on the results of one stream."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import starmap
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from pycocotools.mask import decode, encode

from semidff.filter import Tracked, VideoFilter

from .intervals import Frame
from .methods.boxes import Arrays, arrays_of, instances_like

FILTERS = 'causal', 'both', 'identities'
"""``causal``: results depend on earlier frames alone. ``both``: on some later ones, too, for which they wait.
``identities``: results are those of the method, with the identities of the causal filter's tracks.
"""


class Observation(NamedTuple):
    """What the filter takes of a frame: its picture and size, and what was detected on it, if anything was."""

    picture: np.ndarray
    size: tuple[int, int]
    found: Arrays | None
    is_light: bool
    instances: InstanceData | None

    @classmethod
    def of(cls, frame: Frame, result: DetDataSample | None) -> 'Observation':
        """Take a frame with its result, None if it is tracked."""
        instances = None if result is None else result.pred_instances
        found = None if result is None else arrays_of(instances)
        size = tuple(frame.sample.ori_shape[:2])
        return cls(frame.picture, size, found, not frame.is_key, instances)


class FilterStage:
    """Filters the results of a stream, see :class:`~semidff.filter.TrackFilter`.

    Results have ``instances_id`` (identities, see :class:`~semidff.filter.Tracked`), and masks where the detections
    have some, moved with their boxes. Other fields of a detector's results are left out, except with ``identities``.
    """

    def __init__(self, num_classes: int, kind: str, ahead: int) -> None:
        self._filter = VideoFilter(num_classes, kind == 'both', ahead)
        self._keeps_boxes = kind == 'identities'
        self._samples: deque[DetDataSample] = deque()
        self._template: InstanceData | None = None
        self._masks: dict[int, list[dict]] = {}  # of each frame, run-length codes
        self._count = 0

    def push(self, frame: Frame, result: DetDataSample | None) -> Iterable[DetDataSample]:
        """Take the next frame, with its result unless it is tracked; return the results that are final."""
        sample = frame.sample if result is None else result
        if result is not None and 'masks' in result.pred_instances and not self._keeps_boxes:
            sample = result.new()
            del sample.pred_instances  # Full masks would wait as long as the result.
        self._samples.append(sample)
        results = self.advance(Observation.of(frame, result))
        return self._named(*results) if self._keeps_boxes else self._finished(results)

    def advance(self, observation: Observation) -> list[Tracked]:
        """Take the next frame of which no result is needed; return the objects of frames that are final."""
        picture, size, found, is_light, instances = observation
        if instances is not None:
            self._template = instances
            if 'masks' in instances and not self._keeps_boxes:
                masks = instances.masks.cpu().numpy().astype(np.uint8)
                self._masks[self._count] = encode(np.asfortranarray(masks.transpose(1, 2, 0)))
        self._count += 1
        return self._filter.push(picture, size, found, is_light)

    def fork(self) -> 'FilterStage':
        """Return a copy of a causal stage, which goes on by itself."""
        other = copy.copy(self)
        other._filter, other._masks = self._filter.fork(), dict(self._masks)
        other._samples = deque()
        return other

    def take_identities(self, other: 'FilterStage') -> None:
        """Name new objects as another fork, which has taken the same frames, names them."""
        self._filter.take_identities(other._filter)

    def flush(self) -> Iterable[DetDataSample]:
        """Return the results that wait for later frames."""
        return self._finished(self._filter.flush())

    def new_scene(self) -> Iterable[DetDataSample]:
        """Forget all tracks; return the results that wait for later frames."""
        return self._finished(self._filter.new_scene())

    def _named(self, tracked: Tracked) -> Iterable[DetDataSample]:
        """Return the method's own result, with the identities of the tracks to which its boxes belong."""
        sample = self._samples.popleft()
        found = sample.pred_instances
        found.instances_id = torch.full_like(found.labels, -1)
        frames, indices = tracked.sources.T
        own = (frames == self._count - 1) & (tracked.ids >= 0)
        found.instances_id[indices[own]] = found.labels.new_tensor(tracked.ids[own])
        return [sample]

    def _finished(self, results: list[Tracked]) -> Iterator[DetDataSample]:
        """Return the final results. Masks are made when a result is taken: those of a batch would need gigabytes."""
        finished = []
        for found in results:
            sample = self._samples.popleft()
            height, width = sample.ori_shape[:2]
            boxes = np.clip(found.boxes, 0, [width, height, width, height])
            inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
            template, kept = self._template, Tracked(*(values[inside] for values in found))
            instances = instances_like(template, boxes[inside], kept.scores, kept.labels)
            instances.instances_id = template.labels.new_tensor(kept.ids)
            sample.pred_instances, masks = instances, None
            if self._masks:
                sources = kept.sources.tolist()
                codes = [
                    self._masks[frame][n] if frame in self._masks else None for frame, n in sources
                ]
                masks = list(zip(codes, kept.source_boxes, kept.boxes, strict=True))
                used, waiting = {frame for frame, _ in sources}, self._count - len(self._samples)
                self._masks = {n: m for n, m in self._masks.items() if n in used or n >= waiting}
            finished.append((sample, masks))
        return starmap(_with_masks, finished)


def _with_masks(sample: DetDataSample, masks: list[tuple] | None) -> DetDataSample:
    """Add masks (n, H, W), moved with their boxes from where they were detected.

    Args:
        masks: Of each object, the run-length code of its mask, None if the last detection has none, and the boxes of
            that detection and of the object.
    """
    if masks is None:
        return sample
    height, width = sample.ori_shape[:2]
    result = torch.zeros((len(masks), height, width), dtype=torch.bool)
    for moved, (code, old, new) in zip(result, masks, strict=True):
        if code is None:
            left, top, right, bottom = new.round().astype(int).tolist()
            moved[top:bottom, left:right] = True
            continue
        mask = decode(code)
        scale = (new[2:] - new[:2]) / np.maximum(old[2:] - old[:2], 1e-6)
        shift = new[:2] - scale * old[:2]
        matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
        if (old != new).any():
            mask = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_NEAREST)
        moved[:] = torch.from_numpy(mask)
    sample.pred_instances.masks = result
    return sample
