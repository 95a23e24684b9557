"""Results of frames, and their consumers."""

from typing import NamedTuple

import numpy as np
from mmdet.structures import DetDataSample

from semidff.datasets.video_readers import Frame


class Result(NamedTuple):
    """Predictions of a frame.

    Attributes:
        frame: The frame.
        sample: With ``pred_instances`` or ``pred_sem_seg`` in pixels of the frame.
        number: Number of the frame, from 1, counted through all videos.
    """

    frame: Frame
    sample: DetDataSample
    number: int

    def detections(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels (n,), scores (n,) and boxes (n, 4) x1, y1, x2, y2."""
        found = self.sample.pred_instances  # masks, which may be large, stay where they are
        fields = found.labels, found.scores.float(), found.bboxes.float()
        return tuple(field.cpu().numpy() for field in fields)


class Output:
    """Consumer of results, video by video."""

    def start(self, name: str, fps: float | None) -> None:
        """Begin a video; ``fps`` is None if unknown."""

    def add(self, result: Result) -> None:
        """Take the result of the video's next frame."""
        raise NotImplementedError

    def end(self) -> None:
        """End the video."""
