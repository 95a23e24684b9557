"""The scale of a flow network's input, which follows from the normalization of the frames."""

from torch import nn

from semidff.models.data_preprocessor import normalization
from semidff.utils.model_building import is_kind

from .refinement import FlowNetwork


def with_input_scale(temporal: dict, preprocessor: nn.Module) -> dict:
    """Return the config of a temporal module with the ``input_scale`` of its flow network.

    The original divides mean-subtracted frames by 255; frames that are divided by a standard deviation are multiplied
    by it first. A typed ``input_scale`` stays, and so do flow networks without one.

    Args:
        temporal: Config of the temporal module.
        preprocessor: The data preprocessor that normalizes the frames.
    """
    network = temporal.get('flow_network')
    if network is None or 'input_scale' in network or not is_kind(network, FlowNetwork):
        return temporal
    normalized = normalization(preprocessor)
    std = normalized['std'] if normalized else [1.0]
    return dict(temporal, flow_network=dict(network, input_scale=sum(std) / len(std) / 255))
