"""Video detector, its training and losses: `spatial`, `temporal` and `rfcn` have the parts."""

from .data_preprocessor import VideoDataPreprocessor
from .key_frame import FlowField, KeyFrame
from .objectives import FeatureRegression, FeatureSemantics, SteadyFeatures
from .pretraining import FlowPretrainer
from .rfcn import RFCN
from .semi_dff import SemiDFF
from .spatial import SpatialModule
from .temporal import OpenCVFlow, TemporalModule
from .video_detector import VideoDetector
