"""Deployment of video detectors: export to ONNX graphs for key frames and non-key frames, and their
runner.

The packages of the extra ``onnx`` are imported on first use.
"""

from semidff.inference.executors import ExportedGraphs
from semidff.inference.executors.exported import Description

from .export import ExportError, export_onnx
