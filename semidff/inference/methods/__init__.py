"""Methods: how detections of key frames and non-key frames are obtained."""

from .base import METHODS, Frames, MethodError, VideoMethod, method_class, pairwise_methods
from .blend import Blend
from .centered import Centered
from .coast import Coast
from .copy import Copy
from .frame import Frame
from .interpolate import Interpolate
from .propagate import Propagate
from .shallow_flow import ShallowFlowFast, ShallowFlowSlow
