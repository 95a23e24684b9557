"""Live video with a bounded delay: no frame waits for key frames, which a second thread detects."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from mmengine.structures import InstanceData

from semidff.datasets.video_readers import Frame

from .detect import handed_on
from .follow import Follow
from .schedule import KEY, LIGHT, TRACKED


@dataclass
class _Late:
    """A key frame in the second thread, and the filter that moves its detections from then on."""

    frame: Frame
    carrier: Follow
    since: deque[Frame] = field(default_factory=deque)
    detections: InstanceData | None = None
    done: Future | None = None

    def detect(self, stages: Any) -> None:
        stages.detect([self.frame])
        self.frame.sample = self.frame.done.result()
        if self.carrier.kind:
            list(self.carrier.push(self.frame))
            self.catch_up()

    def catch_up(self) -> None:
        while self.since:
            (carried,) = self.carrier.push(self.since.popleft())
            self.detections = carried.sample.pred_instances


def detect_bounded(frames: Iterable[Frame], stages: Any, detector: Pool) -> Iterator[Frame]:
    """Detect on the frames of a live video, and follow objects; ``detector`` is the second thread.

    A light frame depends on the features of the last key frame that is *finished*. The detections
    of a finished key frame are moved to the current frame by sparse optical flow, and correct the
    tracks there, in place of those of a light frame. While the detector is busy, no key frame
    begins, and with tracked frames, a key frame is tracked until its detections come. The first
    frame of a scene waits for its detection.

    Results have the metainfo ``key_age``: frames since the last key frame that they depend on.
    ``frame_kind`` is ``key`` on the first frame of a scene alone: the detections of later key
    frames are too late for their results.
    """
    late: _Late | None = None
    known: Frame | None = None  # the last finished key frame
    follow = stages.new_follow()
    carrier = 'causal' if follow.kind == 'causal' else None

    def first(frame: Frame) -> None:
        stages.prepare_executor(frame)
        stages.detect([frame])

    def is_free() -> bool:
        return late is None or late.done.done()

    for frame in stages.schedule(frames, may_be_key=is_free):
        is_key, frame.done, detections = frame.kind == KEY, Future(), None
        if frame.begins_scene:
            late, known = None, frame
            detector.submit(first, frame).result()
            frame.sample = frame.done.result()
            frame = handed_on(frame)
        else:
            if late and carrier:
                blank = dict(image=None, inputs=None, sample=frame.sample.new(), kind=TRACKED)
                late.since.append(replace(frame, **blank))
            if late and late.done.done():
                late.done.result()
                if carrier:
                    late.catch_up()
                    detections = late.detections
                known.release()
                late, known = None, late.frame
            if is_key:
                late = _Late(frame, Follow(stages.method.num_classes, carrier, 1))
                late.done = detector.submit(late.detect, stages)
                frame = copy.copy(frame)
                frame.sample, frame.done = frame.sample.new(), Future()
                frame.kind = LIGHT if stages.point.light_every == 1 else TRACKED
            if detections is not None:
                frame.kind = TRACKED
            frame.key = known
            frame.sample.set_metainfo(dict(frame_kind=frame.kind))
            if frame.kind == LIGHT:
                stages.detect([frame])
                frame.sample = frame.done.result()
        frame.inputs = frame.trail = None
        age = frame.position
        for followed in follow.push(frame, detections):
            followed.sample.set_metainfo(dict(key_age=age))
            yield followed
