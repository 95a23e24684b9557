"""The filter over a video: causal, or both ways with a bounded number of frames ahead."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np

from .motion import picture_of
from .tracks import Estimate, Reliability, Tracked, TrackFilter, combine, report

AHEAD = 20
"""Least number of later frames that results of both ways depend on. More are not better."""


class _Waiting(NamedTuple):
    arguments: dict[str, Any]  # of TrackFilter.step
    forward: Estimate


class VideoFilter:
    """Tracks of the objects of one video, frame by frame.

    Args:
        num_classes: Number of classes.
        both_ways: Whether each result depends on later frames, too: a second filter runs from ``2 ·
            ahead`` frames later backward. Results wait for these frames, whose pictures are in
            memory.
        ahead: Half of that; at least the number of frames from one key frame to the next.
        reliability: See :class:`~semidff.filter.TrackFilter`.

    Attributes:
        estimate: What is known of the last frame, by no later ones.
    """

    def __init__(
        self,
        num_classes: int,
        both_ways: bool = False,
        ahead: int = AHEAD,
        reliability: Reliability | None = None,
    ) -> None:
        self.both_ways, self.ahead = both_ways, ahead
        self._num_classes = num_classes
        self._forward = TrackFilter(num_classes, reliability)
        self._light_weights = self.reliability.light_weights
        self._waiting: list[_Waiting] = []
        self._number = -1

    @property
    def reliability(self) -> Reliability:
        return self._forward.reliability

    def push(
        self,
        picture: np.ndarray,
        size: tuple[int, int],
        detections: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        light: bool = False,
        windows: np.ndarray | None = None,
    ) -> list[Tracked]:
        """Take the next frame, see :meth:`TrackFilter.step`; return results that are final."""
        self._number += 1
        arguments = dict(picture=picture, size=size, detections=detections)
        arguments |= dict(light=light, windows=windows, number=self._number)
        self.estimate = estimate = self._forward.step(**arguments)
        if not self.both_ways:
            return [report(estimate)]
        self._waiting.append(_Waiting(arguments, estimate))
        return self._finish(self.ahead) if len(self._waiting) == 2 * self.ahead else []

    def flush(self) -> list[Tracked]:
        """Return the results that wait for later frames."""
        return self._finish(len(self._waiting))

    def new_scene(self) -> list[Tracked]:
        """Return the results that wait, and forget all tracks; later identities are new ones."""
        finished = self.flush()
        reliability, first_id = Reliability(self._light_weights), self._forward.new_id()
        self._forward = TrackFilter(self._num_classes, reliability, first_id=first_id)
        return finished

    def _finish(self, count: int) -> list[Tracked]:
        """Return the results of the first waiting frames."""
        backward = TrackFilter(self._num_classes, self.reliability, learn=False)
        names, camera, found = {}, None, []
        for arguments, forward in reversed(self._waiting):
            other = backward.step(**arguments, camera=camera)
            found.append(report(combine(forward, other, names, self._forward.new_id)))
            camera = forward.camera  # from the frame before, which is the next one
            camera = None if camera is None else cv2.invertAffineTransform(camera)
        del self._waiting[:count]
        return found[::-1][:count]


def filter_coco(
    images: Iterable[np.ndarray],
    detections: Iterable[dict[str, Any]],
    both_ways: bool = False,
    detected: Iterable[int] = (),
) -> Iterator[dict[str, Any]]:
    """Filter the detections of any detector, in COCO's format of results.

    Args:
        images: The frames of a video (H, W, 3), uint8, BGR.
        detections: ``image_id`` (number of the frame, from 0), ``category_id``, ``bbox`` (x, y,
            width, height) and ``score``. Frames without any are frames on which the detector did
            not run, whose boxes are tracked.
        both_ways: See :class:`VideoFilter`.
        detected: Numbers of further frames on which the detector ran, and found nothing.

    Yields:
        The same for every frame, with ``track_id``: the identity; -1 for scores below 0.05, and
        further classes.
    """
    frames: dict[int, list[dict]] = {number: [] for number in detected}
    for one in detections:
        frames.setdefault(one['image_id'], []).append(one)
    names = sorted({one['category_id'] for own in frames.values() for one in own})
    gaps = np.diff(sorted(frames))  # from one frame with detections to the next
    tracks = VideoFilter(len(names), both_ways, max([AHEAD, *gaps]))

    def arrays(own: list[dict] | None) -> tuple[np.ndarray, ...] | None:
        if own is None:
            return None
        boxes = np.array([one['bbox'] for one in own], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.array([one['score'] for one in own], np.float64)
        return boxes, scores, np.array([names.index(one['category_id']) for one in own], int)

    def results() -> Iterator[Tracked]:
        for number, image in enumerate(images):
            own = arrays(frames.get(number))
            yield from tracks.push(picture_of(image), image.shape[:2], own)
        yield from tracks.flush()

    for number, found in enumerate(results()):
        for box, score, label, track in zip(*found[:4], strict=True):
            corner, size = box[:2].tolist(), (box[2:] - box[:2]).tolist()
            yield dict(
                image_id=number,
                category_id=names[label],
                bbox=[*corner, *size],
                score=float(score),
                track_id=int(track),
            )
