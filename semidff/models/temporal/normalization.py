"""What a flow network has to know of the normalization of the frames."""

from torch import allclose, nn, tensor

from semidff.models.data_preprocessor import channel_order, normalization
from semidff.utils.model_building import is_kind

from .mmtracking import MEAN, STD, MMTrackingFlowNet
from .opencv_flow import OpenCVFlow
from .refinement import FlowNetwork


def with_normalization(temporal: dict, preprocessor: nn.Module) -> dict:
    """Return the config of a temporal module whose flow network fits the normalization of the frames.

    The original divides mean-subtracted frames by 255; ``input_scale`` multiplies frames that are divided by a standard
    deviation by it first. OpenCV's flow gets mean, standard deviation and channel order. What is typed stays.

    Args:
        temporal: Config of the temporal module.
        preprocessor: The data preprocessor that normalizes the frames.

    Raises:
        ValueError: If the flow network is mmtracking's, and the normalization is not.
    """
    network = temporal.get('flow_network')
    if network is None or any(buffer.is_meta for buffer in preprocessor.buffers()):
        return temporal  # without flow, or on the meta device, which has no values
    own = normalization(preprocessor) or dict(
        mean=[0.0], std=[1.0], channels=channel_order(preprocessor)
    )
    if is_kind(network, MMTrackingFlowNet):
        theirs = own['channels'] == 'rgb' and len(own['mean']) == 3
        if not (theirs and allclose(tensor([own['mean'], own['std']]), tensor([MEAN, STD]))):
            raise ValueError(
                f'MMTrackingFlowNet needs frames in the order RGB that are normalized with mean={MEAN} and std={STD}, '
                f'got {own}: use FlowNetS'
            )
        return temporal
    if is_kind(network, OpenCVFlow):
        mean, std = (own[name] * (3 // len(own[name])) for name in ('mean', 'std'))
        found = dict(mean=mean, std=std, rgb=own['channels'] == 'rgb')
    elif is_kind(network, FlowNetwork):
        found = dict(input_scale=sum(own['std']) / len(own['std']) / 255)
    else:
        return temporal
    return dict(temporal, flow_network={**found, **network})
