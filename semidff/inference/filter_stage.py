"""The stage after the method: the filter of tracks, on the results of one stream."""

import copy
from collections import deque
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.filter import FilterConstants, Tracked, VideoFilter
from semidff.utils.logs import log_warning

from .intervals import Frame
from .methods.boxes import Arrays, arrays_of, instances_like

FILTERS = 'causal', 'both', 'identities'
"""``causal``: results depend on earlier frames alone. ``both``: on some later ones, too, for which they wait.
``identities``: results are those of the method, with the identities of the causal filter's tracks.
"""


def former_filter(smooth_scores: int, smooth_boxes: int | None) -> str | None:
    """Return the filter that replaces the smoothing of before 0.3, with a warning."""
    if not (smooth_scores or smooth_boxes):
        return None
    chosen = 'both' if smooth_boxes else 'causal'
    log_warning(f'smooth_scores and smooth_boxes are filter={chosen!r} now, which is better')
    return chosen


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

    def __init__(
        self,
        num_classes: int,
        kind: str,
        ahead: int,
        constants: FilterConstants | None = None,
    ) -> None:
        self._filter = VideoFilter(num_classes, kind == 'both', ahead, constants)
        self._keeps_boxes = kind == 'identities'
        self._samples: deque[DetDataSample] = deque()
        self._template: InstanceData | None = None
        self._masks: dict[int, Tensor] = {}  # by frame
        self._count = 0

    def push(self, frame: Frame, result: DetDataSample | None) -> SampleList:
        """Take the next frame, with its result unless it is tracked; return the results that are final."""
        self._samples.append(frame.sample if result is None else result)
        results = self.advance(Observation.of(frame, result))
        return self._named(*results) if self._keeps_boxes else self._finished(results)

    def advance(self, observation: Observation) -> list[Tracked]:
        """Take the next frame of which no result is needed; return the objects of frames that are final."""
        picture, size, found, is_light, instances = observation
        if instances is not None:
            self._template = instances
            if 'masks' in instances and not self._keeps_boxes:
                self._masks[self._count] = instances.masks
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

    def flush(self) -> SampleList:
        """Return the results that wait for later frames."""
        return self._finished(self._filter.flush())

    def new_scene(self) -> SampleList:
        """Forget all tracks; return the results that wait for later frames."""
        return self._finished(self._filter.new_scene())

    def _named(self, tracked: Tracked) -> SampleList:
        """Return the method's own result, with the identities of the tracks to which its boxes belong."""
        sample = self._samples.popleft()
        found = sample.pred_instances
        found.instances_id = torch.full_like(found.labels, -1)
        frames, indices = tracked.sources.T
        own = (frames == self._count - 1) & (tracked.ids >= 0)
        found.instances_id[indices[own]] = found.labels.new_tensor(tracked.ids[own])
        return [sample]

    def _finished(self, results: list[Tracked]) -> SampleList:
        finished = []
        for found in results:
            sample = self._samples.popleft()
            height, width = sample.ori_shape[:2]
            boxes = np.clip(found.boxes, 0, [width, height, width, height])
            inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
            template, kept = self._template, Tracked(*(values[inside] for values in found))
            instances = instances_like(template, boxes[inside], kept.scores, kept.labels)
            instances.instances_id = template.labels.new_tensor(kept.ids)
            if self._masks:
                instances.masks = self._moved_masks(kept, (height, width))
            sample.pred_instances = instances
            finished.append(sample)
        return finished

    def _moved_masks(self, found: Tracked, size: tuple[int, int]) -> Tensor:
        """Return the masks (n, H, W) of objects, moved with their boxes from where they were detected."""
        masks = torch.zeros((len(found.ids), *size), dtype=torch.bool)
        used = set(found.sources[:, 0].tolist())
        for at, ((frame, index), old, new) in enumerate(
            zip(found.sources.tolist(), found.source_boxes, found.boxes, strict=True)
        ):
            if frame not in self._masks:  # the last detection has no mask
                left, top, right, bottom = new.round().astype(int).tolist()
                masks[at, top:bottom, left:right] = True
                continue
            mask = self._masks[frame][index].cpu().numpy().astype(np.uint8)
            scale = (new[2:] - new[:2]) / np.maximum(old[2:] - old[:2], 1e-6)
            shift = new[:2] - scale * old[:2]
            matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
            if (old != new).any():
                mask = cv2.warpAffine(mask, matrix, size[::-1], flags=cv2.INTER_NEAREST)
            masks[at] = torch.from_numpy(mask).bool()
        waiting = self._count - len(self._samples)
        self._masks = {n: one for n, one in self._masks.items() if n in used or n >= waiting}
        return masks
