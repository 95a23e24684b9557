"""Speed options of a video detector: memory layout, precision, compiled graphs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
from mmdet.structures import SampleList
from torch import Tensor, nn

from semidff.models.channels_last import to_channels_last
from semidff.models.temporal.refinement import FlowNetwork
from semidff.models.video_detector import FlowField, KeyFrame, VideoDetector

PRECISIONS: dict[str, torch.dtype | None] = {
    'fp32': None,
    'bf16': torch.bfloat16,
    'fp16': torch.float16,
}


class Acceleration(NamedTuple):
    """What is done to make a model fast.

    Attributes:
        precision: ``fp32``, ``bf16`` or ``fp16``. With the latter two, convolutions and matrix products are in half
            precision (autocast); flow, warp, boxes and everything behind the heads are in full precision.
        channels_last: Whether convolutions work on channels-last maps.
        compile: Whether ``torch.compile`` makes graphs of the feature network, the dense head, the flow network and
            the scale field. The first frame of a new size takes a minute or two.
    """

    precision: str = 'fp32'
    channels_last: bool = False
    compile: bool = False

    def __str__(self) -> str:
        flags = dict(channels_last='channels-last', compile='compiled')
        chosen = [text for name, text in flags.items() if getattr(self, name)]
        return ', '.join([self.precision, *chosen])


def accelerate(
    model: nn.Module, options: Acceleration, backend: str = 'inductor'
) -> 'AcceleratedDetector':
    """A model with its speed options, for prediction only.

    It shares all modules with the given model, which are changed and not to be used otherwise. A deep copy of it has
    the other options but is not compiled.

    Args:
        model (nn.Module): A ``VideoDetector``, or any mmdet detector, in its place on the device.
        options (Acceleration): The options.
        backend (str): Of ``torch.compile``.

    Raises:
        ValueError: If there is no such precision.
    """
    if options.precision not in PRECISIONS:
        raise ValueError(
            f'precision {options.precision!r} is unknown; choose one of {", ".join(PRECISIONS)}'
        )
    if not isinstance(model, VideoDetector):
        model = VideoDetector.wrap(model)
    dtype = PRECISIONS[options.precision]
    if options.channels_last:
        to_channels_last(model)
    if dtype is not None:
        _halve_weights(model, dtype)
        _keep_boxes_whole(model)
    if options.compile:
        _compile(model, backend)
    return AcceleratedDetector(model, options)


class AcceleratedDetector(VideoDetector):
    """A video detector that predicts under its speed options; made by :func:`accelerate`.

    Args:
        model (VideoDetector): Whose modules and attributes it shares.
        options (Acceleration): The options.
    """

    def __init__(self, model: VideoDetector, options: Acceleration) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(model.__dict__, _modules=model._modules.copy())
        self.options = options

    @contextmanager
    def running(self) -> Iterator[None]:
        """The state that the parts have to be called in; predictions enter it by themselves."""
        device = next(self.parameters()).device.type
        dtype = PRECISIONS[self.options.precision]
        with ExitStack() as stack:
            if dtype is not None:
                stack.enter_context(torch.autocast(device, dtype))
            if self.options.compile and device == 'cpu':
                # Weights as constants, laid out once as the CPU's convolutions want them.
                import torch._inductor.config as inductor

                stack.enter_context(inductor.patch(freezing=True))
            yield

    def predict_key(self, inputs: Tensor, samples: SampleList) -> tuple[SampleList, KeyFrame]:
        """See :class:`VideoDetector`."""
        with self.running():
            return super().predict_key(inputs, samples)

    def flow_field(self, inputs: Tensor, key: KeyFrame) -> FlowField:
        """See :class:`VideoDetector`."""
        with self.running():
            return super().flow_field(inputs, key)

    def predict_non_key(
        self,
        inputs: Tensor,
        samples: SampleList,
        key: KeyFrame,
        flow_field: FlowField | None = None,
    ) -> SampleList:
        """See :class:`VideoDetector`."""
        with self.running():
            return super().predict_non_key(inputs, samples, key, flow_field)


def _halve_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Weights in the type to which autocast would convert them for every frame again, with the same results."""
    layers = nn.Conv2d, nn.ConvTranspose2d, nn.Linear
    whole = [m.predict_flow for m in model.modules() if isinstance(m, FlowNetwork)]
    for module in model.modules():
        if isinstance(module, layers) and module not in whole:
            module.to(dtype)


def _keep_boxes_whole(model: nn.Module) -> None:
    """What comes from heads and goes to RoI extractors in float32: half precision is no type for pixels and NMS."""
    for module in model.modules():
        if hasattr(module, 'predict_by_feat'):
            module.register_forward_hook(_float_outputs)
        if isinstance(module, BaseRoIExtractor):
            module.register_forward_pre_hook(_float_inputs)


def _float_outputs(head: nn.Module, inputs: tuple, output: Any) -> Any:
    return _floats(output)


def _float_inputs(extractor: nn.Module, inputs: tuple) -> tuple:
    return _floats(inputs)


def _floats(value: Any) -> Any:
    """The same with tensors of half precision in float32, in lists and tuples too."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if isinstance(value, list | tuple) and not hasattr(value, '_fields'):
        return type(value)(_floats(item) for item in value)
    return value


def _compile(model: VideoDetector, backend: str) -> None:
    """Graphs for key frames (feature network, dense head) and for the frames between (flow, scale field)."""
    spatial, temporal = model.spatial, model.temporal
    head = 'rpn_head' if spatial.is_two_stage else 'bbox_head'
    parts = [*spatial.feature_network, getattr(spatial.detector, head, None)]
    # OpenCV's flow has no parameters, and nothing of it could be compiled
    parts += [getattr(temporal, name, None) for name in ('flow_network', 'scale')]
    for part in parts:
        if part is not None and any(True for _ in part.parameters()):
            part.compile(backend=backend, isolate_recompiles=True)
