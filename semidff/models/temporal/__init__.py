from .flownet_s import FlowNetS, FlowOutput
from .temporal_module import TemporalModule
from .warp import warp

__all__ = ['FlowNetS', 'FlowOutput', 'TemporalModule', 'warp']
