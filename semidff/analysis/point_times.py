"""Times of operating points from decoding to boxes, interleaved.

In each round every method runs one clip at every input size, one method after the other and all on the same frames,
so that noise of the machine affects all of them alike. The first round is warm-up and is not counted. A clip is an
interval of :data:`TIMED_FRAMES` frames, see :mod:`semidff.analysis.speed`; the time of
an operating point is (t_key + (l - 1) t_non_key) / l at its key-frame interval l. A speed-up compares times of the
same round. A frame is decoded, goes through the test pipeline, to the device and through the engine, one step after
the other.
"""

from collections.abc import Callable, Mapping

import numpy as np
from mmengine.dataset import pseudo_collate

from semidff.inference import AdaptiveSchedule, ErrorPredictor
from semidff.inference.loading import frame_pipeline
from semidff.models.video_detector import VideoDetector

from .evaluation_clips import EvaluationClip
from .point_detections import ADAPTIVE, OperatingPoint
from .speed import ClipTimer, clips_of, take_turns

TIMED_FRAMES = 10


class PointTimes:
    """Measures the times of key frames and of non-key frames with every method at every input size.

    Args:
        models: The model of each operating point, in eval mode, with ``cfg``.
        clip: Clip whose video, from its first frame on, is used, since seeking must not be timed.
        predictor: Of *adaptive*.
    """

    def __init__(
        self,
        models: Mapping[OperatingPoint, VideoDetector],
        clip: EvaluationClip,
        predictor: ErrorPredictor | None = None,
    ) -> None:
        self.predictor = predictor
        self.clip = clip._replace(start=0, stop=None)
        self.sizes: dict[float, tuple[int, int]] = {}
        pairs = {(p.method, p.scale, p.smooth): model for p, model in models.items()}
        self._timers = {pair: self._timer(model, *pair) for pair, model in pairs.items()}
        self._seconds: dict[tuple, list[tuple[float, float]]] = {}

    def _timer(self, model: VideoDetector, method: str, scale: float, smooth: int) -> ClipTimer:
        pipeline = frame_pipeline(model.cfg, scale=scale)
        packed = pipeline(dict(img=next(self.clip.images())))
        self.sizes[scale] = tuple(packed['inputs'].shape[-2:])
        schedule = None
        if method == ADAPTIVE:  # predicts the error of every frame, but chooses the same key frames
            options = dict(tolerance=float('inf'), max_interval=TIMED_FRAMES)
            schedule = AdaptiveSchedule(self.predictor, **options)
        return ClipTimer(
            model,
            OperatingPoint(method).run_as,
            TIMED_FRAMES,
            lambda image: pseudo_collate([pipeline(dict(img=image))]),
            schedule,
            smooth,
        )

    def measure(self, rounds: int, progress: Callable[[str], None]) -> None:
        """Measure ``rounds`` rounds after one of warm-up."""
        tasks = {pair: self._task(timer) for pair, timer in self._timers.items()}
        self._seconds = take_turns(tasks, rounds, lambda text: progress(f'times, {text}'))

    def _task(self, timer: ClipTimer) -> Callable[[], tuple[float, float]]:
        clips = clips_of(self.clip, TIMED_FRAMES + 1)

        def run() -> tuple[float, float]:
            seconds = timer.run(next(clips)).seconds.sum(axis=1)
            return seconds[0], seconds[1:].mean()

        return run

    def seconds(self, point: OperatingPoint, interval: float) -> np.ndarray:
        """Return the mean seconds of a frame, (rounds,), at an average key-frame interval."""
        key, non_key = np.array(self._seconds[point.method, point.scale, point.smooth]).T
        if point.method == 'frame':
            return (key + (TIMED_FRAMES - 1) * non_key) / TIMED_FRAMES
        return (key + (interval - 1) * non_key) / interval
