"""Executors: what computes the graphs of key frames and of non-key frames."""

from .base import Executor, as_executor, executors_at_once
from .cuda_graphs import CudaGraphs
from .exported import ExportedGraphs
from .runtimes import RUNTIMES, default_runtime
