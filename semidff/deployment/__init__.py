"""Deployment of video detectors: export to ONNX graphs for key frames and non-key frames, and their runner.

The packages of the extra ``onnx`` are imported on first use.
"""

from .export import ExportError, export_onnx
from .onnx_video_detector import Description, OnnxVideoDetector
from .parity import ParityReport, sample_batches, verify
