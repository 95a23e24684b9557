"""Methods: what is done on key frames and on non-key frames."""

from .base import METHODS, MethodError, VideoMethod, method_class, renamed_method
from .centered import Centered
from .coast import Coast
from .copy import CopyBoxes
from .frame import FrameByFrame
from .interpolate import Interpolate
from .propagate import Propagation
from .shallow_flow import ShallowFlowFast, ShallowFlowSlow

__all__ = [
    'METHODS',
    'Centered',
    'Coast',
    'CopyBoxes',
    'FrameByFrame',
    'Interpolate',
    'MethodError',
    'Propagation',
    'ShallowFlowFast',
    'ShallowFlowSlow',
    'VideoMethod',
    'method_class',
    'renamed_method',
]
