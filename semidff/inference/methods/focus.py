"""Method *focus*: between key frames, the detector looks where the objects are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample, SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from semidff.datasets.video_readers import Frame
from semidff.datasets.video_readers.base import Trail
from semidff.filter import Reliability, TrackFilter
from semidff.filter.tracks import Estimate

from .base import METHODS, VideoMethod
from .boxes import arrays_of, instances_like
from .canvas import GRAY, Canvas, Size, canvas_sizes, lay_out, margins_of


@dataclass
class _Interval:
    """The tracks of an interval, which began at its key frame, up to a frame."""

    tracks: TrackFilter
    trail: Trail

    def follow(self, frame: Frame) -> Estimate:
        """Move the tracks to a later frame. The camera's motion is part of theirs, which takes less
        time and is as accurate here.
        """
        while self.trail.number < frame.number:
            self.trail = self.trail.next
            size, number = frame.sample.ori_shape[:2], self.trail.number
            estimate = self.tracks.step(
                self.trail.picture, size, number=number, camera=np.eye(2, 3)
            )
        return estimate


@METHODS.register_module(name='focus')
class Focus(VideoMethod):
    """The detector itself on non-key frames, on a small canvas of crops around the objects; no
    training.

    Objects are those of the interval: tracks that began at its key frame, so that intervals do not
    depend on one another. What does not fit on the canvas is tracked.
    """

    needs_boxes = sequential = True
    light_weights = 1.0, 1.0

    def key(self, frames: Sequence[Frame]) -> SampleList:
        results = super().key(frames)
        for frame, result in zip(frames, results, strict=True):
            tracks = TrackFilter(self.num_classes, Reliability(self.light_weights))
            detections = arrays_of(result.pred_instances)
            tracks.step(frame.picture, result.ori_shape[:2], detections, number=frame.number)
            frame.features = _Interval(tracks, frame.trail)
            frame.detections = result.pred_instances[:0]
        return results

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        for frame in frames:
            interval, template = frame.key.features, frame.key.detections
            canvas = self._canvas(interval.follow(frame), frame)
            if canvas is None:
                frame.windows, found = np.zeros((0, 4)), template.clone()
            else:
                name = str(canvas.places.tolist() + canvas.windows.tolist())
                detected = self._detect(canvas.draw(frame.image), frame, name)
                frame.windows, found = canvas.seen, _located(detected, canvas, template)
            interval.tracks.correct(arrays_of(found), light=True, windows=frame.windows)
            frame.sample.pred_instances = found
        return [frame.sample for frame in frames]

    def rehearse(self, key: Frame, light: Frame | None) -> None:
        self.key([key])
        for size in canvas_sizes(tuple(key.inputs.shape[1:])) if light else ():
            self._detect(np.full((*size, 3), GRAY, np.uint8), light)

    def _canvas(self, objects: Estimate, frame: Frame) -> Canvas | None:
        scores = objects.scores[:, 0].sum(-1)
        ages = frame.number - objects.sources[:, 0]
        scale = tuple(map(float, frame.sample.get('scale_factor', (1.0, 1.0))[:2]))
        margins = margins_of(ages, min(self.executor.model.spatial.probe_levels()[1]))
        frame_size, sizes = frame.sample.ori_shape[:2], canvas_sizes(tuple(frame.inputs.shape[1:]))
        return lay_out(objects.boxes, scores**2 * ages, margins, scale, frame_size, sizes)

    def _detect(self, canvas: np.ndarray, frame: Frame, name: str = '') -> InstanceData:
        """Return the detections on a canvas (h, w, 3), in its pixels."""
        size: Size = canvas.shape[:2]
        shapes = dict.fromkeys(('ori_shape', 'img_shape', 'pad_shape'), size)
        info = dict(frame.sample.metainfo, **shapes, scale_factor=(1.0, 1.0), canvas=name)
        image = torch.from_numpy(canvas.transpose(2, 0, 1).copy()).to(frame.inputs.dtype)
        inputs = self.executor.model.preprocess([image], [DetDataSample(metainfo=info)])
        return self.executor.predict_key(*inputs)[0][0].pred_instances


def _located(found: InstanceData, canvas: Canvas, template: InstanceData) -> InstanceData:
    """Return the detections of a canvas in the frame, with their masks."""
    boxes, scores, labels = arrays_of(found)
    kept, located, windows = canvas.whole(boxes, scores, labels)
    result = instances_like(template, located, scores[kept], labels[kept])
    if 'masks' in found:
        masks = torch.zeros((len(kept), *canvas.frame_size), dtype=torch.bool)
        for mask, index, window in zip(masks, kept.tolist(), windows.tolist(), strict=True):
            (x1, y1, x2, y2), place = canvas.windows[window], canvas.places[window]
            part = found.masks[index, place[1] : place[3], place[0] : place[2]]
            mask[y1:y2, x1:x2] = _resized(part, (y2 - y1, x2 - x1))
        result.masks = masks
    return result


def _resized(mask: Tensor, size: Size) -> Tensor:
    options = dict(size=size, mode='bilinear', align_corners=False)
    return F.interpolate(mask[None, None].float(), **options)[0, 0] >= 0.5
