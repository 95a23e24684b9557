"""Detection of live video with a bounded delay: no frame waits for key frames, which a second
thread detects."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from semidff.datasets.video_readers import Frame

from .detect import handed_on
from .follow import Follow, Observation
from .schedule import KEY, LIGHT, TRACKED

if TYPE_CHECKING:
    from .stages import Stages


@dataclass
class _Late:
    """A key frame in the second thread, and the filter of its results, which is behind the live
    one."""

    frame: Frame
    follow: Follow | None
    since: deque[Observation] = field(default_factory=deque)
    done: Future | None = None

    def detect(self, stages: 'Stages') -> None:
        """Detect on the key frame, and let the filter take it and the frames that have come
        since."""
        stages.detect([self.frame])
        self.frame.sample = self.frame.done.result()
        if self.follow:
            self.follow.advance(self.follow.observed(self.frame))
            self.catch_up()

    def catch_up(self) -> None:
        while self.since:
            self.follow.advance(self.since.popleft())


def detect_bounded(frames: Iterable[Frame], stages: 'Stages', detector: Pool) -> Iterator[Frame]:
    """Detect on the frames of a live video, and follow objects.

    A light frame depends on the features of the last key frame that is *finished*. When a detection
    is done, a copy of the filter takes it at its own frame, and then what has been observed since.
    So tracks are those of a filter that has waited for it, but for light frames in between. While
    the detector is busy, no key frame begins. The first frame of a scene waits for its own
    detection. Results have the metainfo ``key_age``: frames since the last key frame that they
    depend on. ``frame_kind`` is ``key`` on the first frame of a scene alone: the detection of later
    key frames is too late for their own results.
    """
    late: _Late | None = None
    known: Frame | None = None  # the last finished key frame
    follow = stages.new_follow()

    def first(frame: Frame) -> None:
        stages.prepare_executor(frame)
        stages.detect([frame])

    def is_free() -> bool:
        nonlocal late, known, follow
        if late and late.done.done():
            late.done.result()
            if late.follow:
                late.catch_up()
                late.follow.take_identities(follow)
                follow = late.follow
            known.release()
            late, known = None, late.frame
        return late is None

    for frame in stages.schedule(frames, may_be_key=is_free):
        is_key, frame.done = frame.kind == KEY, Future()
        if frame.begins_scene:
            late, known = None, frame
            detector.submit(first, frame).result()
            frame.sample = frame.done.result()
            frame = handed_on(frame)
        else:
            if is_key:
                late = _Late(frame, follow.fork() if follow.kind else None)
                late.done = detector.submit(late.detect, stages)
                frame = copy.copy(frame)
                frame.sample, frame.done = frame.sample.new(), Future()
                frame.kind = LIGHT if stages.point.light_every == 1 else TRACKED
                frame.sample.set_metainfo(dict(frame_kind=frame.kind))
            elif frame.key is not known:
                frame.flow_field = None
            frame.key = known
            if frame.kind == LIGHT:
                stages.detect([frame])
                frame.sample = frame.done.result()
            if late and late.follow and not is_key:
                late.since.append(follow.observed(frame))
        frame.inputs = None
        age = frame.position
        for followed in follow.push(frame):
            followed.sample.set_metainfo(dict(key_age=age))
            yield followed
