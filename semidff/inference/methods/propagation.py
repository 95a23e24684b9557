"""Methods that propagate key-frame features to non-key frames (DFF section 3, semi-DFF 3.1)."""

from collections.abc import Sequence
from functools import cache

from mmdet.registry import MODELS
from mmdet.structures import SampleList

from semidff.datasets.video_readers import Frame
from semidff.inference.executors import Executor
from semidff.models.key_frame import KeyFrame
from semidff.models.temporal.temporal_module import with_normalization
from semidff.utils.logs import log_warning

from .base import METHODS, MethodError, VideoMethod
from .boxes import by_interval


@METHODS.register_module(name='propagate')
class Propagate(VideoMethod):
    """Feature network on key frames, temporal module on non-key frames.

    Features are propagated directly from the last key frame, never from a non-key frame. Results of
    several frames at once differ from those of single frames by rounding alone.

    Args:
        keep_fields: Whether results hold their ``feature_flow`` (2, h, w) in cells, and their
            ``scale_field`` (1, h, w), the mean over its channels, if there is one; for
            visualization.
    """

    uses_temporal = propagates = True

    def __init__(self, executor: Executor, keep_fields: bool = False) -> None:
        if not executor.model.has_temporal:
            raise MethodError(
                "method 'propagate' needs a temporal module and this model has none: use a "
                'stage-two config and checkpoint, or a method that needs none, such as track'
            )
        super().__init__(executor)
        temporal = executor.model.temporal
        if keep_fields and not hasattr(temporal, 'fields'):
            raise MethodError(f'{type(temporal).__name__} has no feature flow to keep')
        self.keep_fields = keep_fields

    def key(self, frames: Sequence[Frame]) -> SampleList:
        results, keys = self.executor.predict_key(*self.batch(frames))
        for frame, key in zip(frames, keys.split(), strict=True):
            frame.features = key
        return results

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        return self._propagate(frames, [frame.key for frame in frames])

    def _propagate(self, frames: Sequence[Frame], keys: Sequence[Frame]) -> SampleList:
        """Detect on frames, each with the features of a key frame."""
        key = KeyFrame.batch([key.features for key in keys])
        inputs, samples = self.batch(frames)
        flow_field = self.executor.flow_field(inputs, key) if self.keep_fields else None
        results = self.executor.predict_non_key(inputs, samples, key, flow_field)
        if self.keep_fields:
            for index, result in enumerate(results):
                result.feature_flow = flow_field.flow[index]
                if flow_field.scale is not None:
                    result.scale_field = flow_field.scale[index].mean(0, keepdim=True)
        return results


@METHODS.register_module(name='centered')
class Centered(Propagate):
    """Propagation in both directions, which puts a key frame in the middle of its non-key frames.

    Key frames and cost are those of *propagate*, but the largest distance to a key frame is half as
    large. A frame exactly in the middle is propagated from the earlier key frame, and so are all
    frames after the last one.

    The temporal module has to be trained in both directions (``both_directions=True`` of SemiDFF);
    else a warning is logged.
    """

    needs_next = True

    def __init__(self, executor: Executor, keep_fields: bool = False) -> None:
        super().__init__(executor, keep_fields)
        if not executor.model.both_directions:
            _warn_of_backward(type(self).__name__.lower())

    def non_key(self, frames: Sequence[Frame]) -> SampleList:
        results = []
        for key, own in by_interval(frames):
            last = (key.next.number - key.number) // 2 if key.next else own[-1].position
            earlier = [frame for frame in own if frame.position <= last]
            for origin, part in ((key, earlier), (key.next, own[len(earlier) :])):
                if part:
                    results += self._propagate(part, [origin] * len(part))
        return results


@cache  # an evaluation of many operating points builds as many methods
def _warn_of_backward(method: str) -> None:
    log_warning(
        f'method {method!r} propagates in both directions, but by its config this model was '
        'trained in one: train with model.both_directions=True, or use method propagate'
    )


class ShallowFlow(Propagate):
    """Shallow feature flow: propagation by off-the-shelf optical flow, that of OpenCV (DFF Tables 3
    and 4).

    It works for any detector without training, with a flow that has no scale field. The given model
    is not changed.
    """

    uses_temporal = False

    preset: str  # of OpenCVFlow

    def __init__(self, executor: Executor, keep_fields: bool = False) -> None:
        model = executor.model
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
        super().__init__(executor.with_temporal(temporal), keep_fields)


@METHODS.register_module(name='sff-fast')
class ShallowFlowFast(ShallowFlow):
    """SFF with the default settings of the flow."""

    preset = 'fast'


@METHODS.register_module(name='sff-slow')
class ShallowFlowSlow(ShallowFlow):
    """SFF with the most accurate settings of the flow."""

    preset = 'slow'
