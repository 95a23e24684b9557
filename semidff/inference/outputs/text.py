"""Detections as ILSVRC text."""

from typing import TextIO

from semidff.datasets.ilsvrc_format import detection_lines

from .base import Output, Result


class TextOutput(Output):
    """Write detections in the ILSVRC format; frames are numbered from 1, through all videos.

    Args:
        file: The open file.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, result: Result) -> None:
        self._file.writelines(detection_lines(result.number, *result.detections()))
