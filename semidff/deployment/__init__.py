"""Video detectors outside of PyTorch: ONNX graphs of key frames and current frames, and what runs them.

The packages of the extra ``onnx`` are imported when they are needed, not before.
"""

from .description import Description
from .export import ExportError, export_onnx
from .graphs import KeyGraph, NonKeyGraph
from .onnx_graph import OnnxGraph
from .onnx_video_detector import OnnxVideoDetector
from .packages import MissingPackageError
from .parity import TOLERANCE, Difference, compare_maps, unmatched_detections
from .sample_frames import sample_batches
from .verification import ParityReport, verify

__all__ = [
    'TOLERANCE',
    'NonKeyGraph',
    'Description',
    'Difference',
    'ExportError',
    'KeyGraph',
    'MissingPackageError',
    'OnnxGraph',
    'OnnxVideoDetector',
    'ParityReport',
    'compare_maps',
    'export_onnx',
    'sample_batches',
    'unmatched_detections',
    'verify',
]
