"""A frame together with what was found in it."""

from typing import Any, NamedTuple

import numpy as np
from mmdet.structures import DetDataSample

from semidff.datasets.video_readers import Frame


class Result(NamedTuple):
    """A frame's result.

    Attributes:
        frame: The frame.
        sample: With ``pred_instances`` in the frame's pixels.
        number: The frame's number among those of all videos, from 1.
    """

    frame: Frame
    sample: DetDataSample
    number: int

    def detections(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels (n,), scores (n,) and boxes (n, 4) x1, y1, x2, y2."""
        found = self.sample.pred_instances.cpu()
        return found.labels.numpy(), found.scores.float().numpy(), found.bboxes.float().numpy()


def frame_metainfo(frame: Frame) -> dict[str, Any]:
    """What a frame's data sample says about where the frame is from."""
    return dict(
        frame_id=frame.index,
        timestamp=frame.timestamp,
        img_path=frame.path,
        ori_shape=frame.image.shape[:2],
    )
