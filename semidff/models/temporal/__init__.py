from .flownet_inception import FlowNetInception
from .flownet_light import FlowNetLight
from .flownet_s import FlowNetS
from .mmtracking import MMTrackingFlowNet, MMTrackingTemporalModule
from .opencv_flow import OpenCVFlow
from .refinement import FlowNetwork, FlowOutput
from .residual_module import ResidualModule
from .temporal_module import TemporalModule
from .warp import warp
