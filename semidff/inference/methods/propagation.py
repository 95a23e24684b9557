"""Methods that propagate key-frame features to non-key frames (DFF section 3, semi-DFF 3.1)."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_overlaps
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from semidff.models.key_frame import FlowField, KeyFrame
from semidff.models.temporal.temporal_module import with_normalization
from semidff.utils.logs import log_warning

from .base import METHODS, Frames, Memory, MethodError, VideoMethod
from .boxes import Arrays, arrays_of, interpolate

_PIXELS = dict(cpu=2**20, cuda=2**22)
"""Pixels of the network's input that are propagated as a batch. Larger batches are not faster, and take memory."""
_FEW_PIXELS = 2**17
"""Pixels of a frame up to which warp and task network are faster for a batch on a CPU, too: beyond, maps of several
frames do not fit into its cache."""


@METHODS.register_module(name='propagate')
class Propagate(VideoMethod):
    """Feature network on key frames, temporal module on non-key frames.

    Features are propagated directly from the last key frame, never from a non-key frame.

    Non-key frames of a stream that is ``chunked`` wait until a *chunk* is complete or the next key frame comes, and
    are processed as a batch: the flow network always, warp and task network where it is faster. Results differ from
    those of single frames by rounding alone.

    Args:
        keep_fields: Whether results hold their ``feature_flow`` (2, h, w) in cells, and their ``scale_field``
            (1, h, w), the mean over its channels, if there is one; for visualization.
    """

    reads_non_key_frames = True
    uses_temporal = True
    pairwise = True
    shows_flow = True
    observable = True
    max_chunk = 16  # largest number of frames of a batch

    def __init__(self, model: nn.Module, keep_fields: bool = False) -> None:
        if not model.has_temporal:
            raise MethodError(
                "method 'propagate' needs a temporal module and this model has none: use a "
                'stage-two config and checkpoint, or one of frame, copy, coast, interpolate, sff-fast'
            )
        super().__init__(model)
        self.observable = self.observable and hasattr(model.temporal, 'fields')
        if keep_fields and not hasattr(model.temporal, 'fields'):
            raise MethodError(f'{type(model.temporal).__name__} has no feature flow to keep')
        self.keep_fields = keep_fields

    def key(self, frames: Frames) -> list[SampleList]:
        finished = [self.flush(memory) for memory in frames.memories]
        for memory in frames.memories:
            memory.key_frame = None  # freed before the next one is allocated
        results, keys = self.predict_key(frames)
        for memory, key in zip(frames.memories, keys.split(), strict=True):
            memory.key_frame = key
        return [[*waited, result] for waited, result in zip(finished, results, strict=True)]

    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        if any(memory.chunked for memory in frames.memories):
            return self._wait(frames, flow_field)
        key = KeyFrame.batch([memory.key_frame for memory in frames.memories])
        results = self._detect(frames.inputs, frames.samples, key, flow_field)
        return [[result] for result in results]

    def _wait(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        """Keep non-key frames until a chunk is complete."""
        finished: list[SampleList] = []
        waiting = zip(frames.inputs, frames.samples, frames.memories, strict=True)
        for index, (image, sample, memory) in enumerate(waiting):
            own = flow_field and flow_field.frame(index)
            memory.waiting.append((image, sample, own))
            complete = not memory.chunked or len(memory.waiting) == self._chunk_size(image)
            finished.append(self.flush(memory) if complete else [])
        return finished

    def flush(self, memory: Memory, count: int | None = None) -> SampleList:
        """Return the results of the first ``count`` waiting frames, by default of all."""
        count = len(memory.waiting) if count is None else count
        chosen, memory.waiting = memory.waiting[:count], memory.waiting[count:]
        results: SampleList = []
        while chosen:
            size = self._chunk_size(chosen[0][0])
            inputs, samples, fields = zip(*chosen[:size], strict=True)
            known = None if fields[0] is None else FlowField.batch(fields)
            results += self._detect(torch.stack(inputs), list(samples), memory.key_frame, known)
            chosen = chosen[size:]
        return results

    def _chunk_size(self, image: Tensor) -> int:
        """Return the number of frames (3, H, W) that are processed as a batch."""
        pixels = _PIXELS.get(image.device.type, _PIXELS['cpu'])
        return min(self.max_chunk, max(1, pixels // image[0].numel()))

    def _detect(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        """Detect on non-key frames (N, 3, H, W)."""
        large = inputs.device.type == 'cpu' and inputs[0, 0].numel() > _FEW_PIXELS
        # The key frame of a single frame may not be computed yet, see DetectionMemory.
        chunk = large and 1 < len(inputs) != len(key.features[0])
        in_turns = chunk and hasattr(self.model.temporal, 'fields')
        if flow_field is None and (self.keep_fields or in_turns):
            flow_field = self.model.flow_field(inputs, key)
        if in_turns:
            results = []
            for index, sample in enumerate(samples):
                image, own = inputs[index : index + 1], flow_field.frame(index)
                results += self.model.predict_non_key(image, [sample], key, own)
        else:
            results = self.model.predict_non_key(inputs, samples, key, flow_field)
        if self.keep_fields:
            for index, result in enumerate(results):
                result.feature_flow = flow_field.flow[index]
                if flow_field.scale is not None:
                    result.scale_field = flow_field.scale[index].mean(0, keepdim=True)
        return results

    def flow_field(self, inputs: Tensor, memories: Sequence[Memory]) -> FlowField:
        return self.model.flow_field(inputs, KeyFrame.batch([m.key_frame for m in memories]))


@METHODS.register_module(name='centered')
class Centered(Propagate):
    """Propagation in both directions, which puts a key frame in the middle of its non-key frames.

    Key frames and cost are those of *propagate*, but the largest distance to a key frame is half as large. A frame
    exactly in the middle is propagated from the earlier key frame, and so are all frames after the last one. Results
    of non-key frames are returned together with those of the next key frame, and are computed in batches.

    The temporal module has to be trained in both directions (``both_directions=True`` of SemiDFF); else a warning is
    logged.
    """

    pairwise = False
    observable = False  # a frame's key frame may be the next one
    offline = True

    def __init__(self, model: nn.Module, keep_fields: bool = False) -> None:
        super().__init__(model, keep_fields)
        # What the model in an exported graph was trained for is not known.
        if not getattr(model, 'both_directions', True):
            _warn_of_backward(type(self).__name__.lower())

    def key(self, frames: Frames) -> list[SampleList]:
        """Detect on key frames, and on the non-key frames before them."""
        results, keys = self.predict_key(frames)
        finished = []
        for result, key, memory in zip(results, keys.split(), frames.memories, strict=True):
            earlier = self.flush(memory, (len(memory.waiting) + 1) // 2)
            memory.key_frame = key
            finished.append([*earlier, *self.flush(memory), result])
        return finished

    def non_key(self, frames: Frames, flow_field: FlowField | None = None) -> list[SampleList]:
        """Keep frames until the next key frame."""
        waiting = zip(frames.inputs, frames.samples, frames.memories, strict=True)
        for image, sample, memory in waiting:
            memory.waiting.append((image, sample, None))
        return [[] for _ in frames.samples]


@cache  # an evaluation of many operating points builds as many methods
def _warn_of_backward(method: str) -> None:
    log_warning(
        f'method {method!r} propagates in both directions, but by its config this model was trained in one: train with '
        'model.both_directions=True, or use method propagate'
    )


@METHODS.register_module(name='blend')
class Blend(Centered):
    """*centered*, with boxes drawn towards those of *interpolate*.

    The error of a propagated box grows with the distance from its key frame and differs from frame to frame, that of
    an interpolated one with the change of motion. Their mean is tighter than both where they are close to one another.
    Each propagated box is averaged with the interpolated box of its class that it overlaps most, one to one; the weight
    of the interpolated one is IoU² / 2. Scores and classes are the propagated ones. Boxes after the last key frame of a
    video, and boxes of instances with masks, are not changed.
    """

    needs_boxes = True

    def key(self, frames: Frames) -> list[SampleList]:
        finished = super().key(frames)
        for (*non_key, key), memory in zip(finished, frames.memories, strict=True):
            following = arrays_of(key.pred_instances)
            if non_key and 'masks' not in key.pred_instances:
                tracks = interpolate(memory.detections, following, len(non_key))
                for sample, (boxes, _, labels) in zip(non_key, tracks, strict=True):
                    found = sample.pred_instances
                    blended = average(arrays_of(found), boxes, labels)
                    found.bboxes = found.bboxes.new_tensor(blended)
            memory.detections = following
        return finished


def average(found: Arrays, tracks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average boxes with those of tracks, (m, 4) of classes (m,).

    Returns:
        Boxes (n, 4); those that overlap no track of their class are unchanged.
    """
    boxes = found[0]
    overlaps = bbox_overlaps(torch.from_numpy(boxes), torch.from_numpy(tracks)).numpy()
    overlaps = np.where(found[2][:, None] == labels, overlaps, 0)
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    weights = overlaps[rows, columns, None] ** 2 / 2
    boxes[rows] += weights * (tracks[columns] - boxes[rows])
    return boxes


class ShallowFlow(Propagate):
    """Shallow feature flow: propagation by off-the-shelf optical flow, that of OpenCV (DFF Tables 3 and 4).

    It works for any detector without training, with a flow that has no scale field. The given model is not changed.
    """

    uses_temporal = False

    preset: str  # of OpenCVFlow

    def __init__(self, model: nn.Module, keep_fields: bool = False) -> None:
        with model.running():
            strides = model.spatial.probe_levels()[1]
        temporal = dict(
            type='TemporalModule',
            flow_network=dict(type='OpenCVFlow', preset=self.preset),
            feat_strides=strides,
            with_scale=False,
            padding=model.spatial.split.padding,
        )
        temporal = MODELS.build(with_normalization(temporal, model.data_preprocessor))
        super().__init__(model.with_temporal(temporal), keep_fields)


@METHODS.register_module(name='sff-fast')
class ShallowFlowFast(ShallowFlow):
    """SFF with the default settings of the flow."""

    preset = 'fast'


@METHODS.register_module(name='sff-slow')
class ShallowFlowSlow(ShallowFlow):
    """SFF with the most accurate settings of the flow."""

    preset = 'slow'
