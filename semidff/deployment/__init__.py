"""Deployment of video detectors: export to ONNX graphs for key frames and non-key frames, and their runner.

The packages of the extra ``onnx`` are imported on first use.
"""

from .description import Description
from .export import ExportError, export_onnx
from .onnx_video_detector import OnnxVideoDetector
from .packages import MissingPackageError
from .parity import ParityReport, verify
from .sample_frames import sample_batches
