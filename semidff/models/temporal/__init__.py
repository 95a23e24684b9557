from .flow_networks import FlowNetS, FlowNetwork, FlowOutput
from .flownet_inception import FlowNetInception
from .opencv_flow import OpenCVFlow
from .temporal_module import ResidualModule, TemporalModule
from .warp import warp
