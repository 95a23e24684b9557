"""The stage behind the detection: the filter of tracks, with identities and masks."""

from collections import deque
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools.mask import decode, encode
from torch import Tensor

from semidff.datasets.video_readers import Frame
from semidff.filter import Reliability, Tracked, VideoFilter
from semidff.filter.tracks import LIGHT_WEIGHTS, report

from .methods.boxes import arrays_of, instances_like
from .schedule import LIGHT, TRACKED


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
        light_weights: See :class:`~semidff.filter.Reliability`.
    """

    def __init__(
        self,
        num_classes: int,
        kind: str | None,
        ahead: int,
        light_weights: tuple[float, float] = LIGHT_WEIGHTS,
    ) -> None:
        self.kind = kind
        reliability = Reliability(light_weights)
        self._filter = VideoFilter(num_classes, kind == 'both', ahead, reliability)
        self._waiting: deque[Frame] = deque()
        self._template: InstanceData | None = None
        self._masks: dict[int, list[dict]] = {}  # of each frame, run-length codes
        self._count = 0

    def push(self, frame: Frame, late: InstanceData | None = None) -> Iterator[Frame]:
        """Take the next frame, with its result unless it is tracked; yield frames with final
        results.

        Args:
            late: Detections of an earlier key frame, moved to a tracked frame, which the filter
                takes as those of a key frame.
        """
        if self.kind is None:
            yield frame
            return
        if frame.begins_scene:
            yield from self._finished(self._filter.new_scene())
        self._waiting.append(frame)
        size, arrays = tuple(frame.sample.ori_shape[:2]), None
        detections = late if frame.kind == TRACKED else frame.sample.pred_instances
        if detections is not None:
            arrays = arrays_of(detections)
            self._template = instances_like(detections, *arrays)  # without masks
            if 'masks' in detections and self.kind != 'identities':
                pixels = detections.masks.cpu().numpy().astype(np.uint8)
                self._masks[self._count] = encode(np.asfortranarray(pixels.transpose(1, 2, 0)))
        self._count += 1
        results = self._filter.push(frame.picture, size, arrays, frame.kind == LIGHT, frame.windows)
        if self.kind == 'identities':
            yield self._named(*results)
            return
        if frame.kind != TRACKED:
            del frame.sample.pred_instances  # Masks would wait as long as the frame.
        yield from self._finished(results)

    def causal(self) -> InstanceData:
        """Return the result of the last frame, by no later ones, if the filter waits for some."""
        return self._instances(report(self._filter.estimate), self._waiting[-1])

    def flush(self) -> Iterator[Frame]:
        """Yield the frames that wait for later ones."""
        return self._finished(self._filter.flush())

    def _named(self, tracked: Tracked) -> Frame:
        """Return the frame with the method's result, and the track ids of its boxes."""
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
            frame.sample.pred_instances = self._instances(tracked, frame)
            first = self._count - len(self._waiting)
            used = {number for number, _ in tracked.sources.tolist()} if self._masks else ()
            self._masks = {n: m for n, m in self._masks.items() if n in used or n >= first}
            yield frame

    def _instances(self, tracked: Tracked, frame: Frame) -> InstanceData:
        size = tuple(frame.sample.ori_shape[:2])
        boxes = np.clip(tracked.boxes, 0, size[::-1] * 2)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        template, kept = self._template, Tracked(*(values[inside] for values in tracked))
        instances = instances_like(template, boxes[inside], kept.scores, kept.labels)
        instances.instances_id = template.labels.new_tensor(kept.ids)
        if self._masks:
            instances.masks = self._moved_masks(kept, size)
        return instances

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
