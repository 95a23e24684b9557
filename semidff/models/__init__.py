from .crop_classifier import CropClassifier
from .data_preprocessor import VideoDataPreprocessor
from .flow_pretrainer import FlowPretrainer
from .key_frame import FlowField, KeyFrame
from .objectives import FeatureRegression, FeatureSemantics, SteadyFeatures
from .rfcn import RFCN
from .semi_dff import SemiDFF
from .spatial import SpatialModule
from .temporal import OpenCVFlow, TemporalModule
from .video_detector import VideoDetector
