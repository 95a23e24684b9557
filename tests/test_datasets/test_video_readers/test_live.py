"""Live sources: which frames are dropped, lost connections and time stamps, by a clock of the
tests.
"""

import threading
from functools import partial

import numpy as np
import pytest

from semidff.datasets.video_readers import LiveOptions, LiveStream, VideoError, open_any
from semidff.datasets.video_readers.live import Address, Clock, Device
from tests.encoded_video import DISPLAY, encode


@pytest.fixture(autouse=True)
def not_waiting_for_threads(monkeypatch):
    monkeypatch.setattr('semidff.datasets.video_readers.live._CLOSING', 0.1)


class TestClock(Clock):
    """Time goes on when the reading thread waits, or else when the test says so."""

    __test__ = False

    def __init__(self, runs: bool = True) -> None:
        self.now, self.pauses = 0.0, []
        self._runs, self._asleep_until, self._changed = runs, 0.0, threading.Condition()

    def time(self) -> float:
        return self.now

    def wait(self, event: threading.Event, seconds: float) -> None:
        self.pauses.append(seconds)
        self.sleep_until(self.now + seconds)

    def sleep_until(self, time: float) -> None:
        if self._runs:
            self.now = max(self.now, time)
            return
        with self._changed:
            self._asleep_until = time
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.now >= time)

    def go_to(self, time: float) -> None:
        """Return once the thread has read all that comes until then."""
        with self._changed:
            self.now = time
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._asleep_until > time, 9)


class Camera:
    """Has connections, each a list of (time of arrival, time stamp), or None for one that is
    refused.
    """

    def __init__(self, *connections: list | None) -> None:
        self.connections = list(connections)

    def __call__(self, source, options, clock) -> 'Connection':
        frames = self.connections.pop(0) if self.connections else None
        if frames is None:
            raise OSError(111, 'Connection refused')
        return Connection(frames, clock)


class Connection:
    is_recording, returns = False, True

    def __init__(self, frames: list, clock: TestClock) -> None:
        self.frames, self.clock = frames, clock

    def __iter__(self):
        for arrival, stamp in self.frames:
            self.clock.sleep_until(arrival)
            yield stamp, partial(np.full, (4, 6, 3), int(arrival * 25 + 0.5) % 256, np.uint8)

    def close(self) -> None:
        pass


def regular(count: int, begin: float = 0, stamp: float = 0) -> list[tuple[float, float]]:
    return [(begin + n / 25, stamp + n / 25) for n in range(count)]


def read(*connections, clock=None, frames='every-frame', strict=False, **options) -> LiveStream:
    options, camera = LiveOptions(frames, **options), Camera(*connections)
    return LiveStream('tcp://camera/street', strict, options, clock or TestClock(), camera)


def outcome(stream: LiveStream) -> tuple[list, str]:
    """Return the frames up to the end of a stream, and its error."""
    frames = []
    with pytest.raises(VideoError) as caught:
        frames.extend(stream)
    return frames, str(caught.value)


def test_the_newest_frame_and_the_number_of_those_dropped():
    clock = TestClock(runs=False)
    stream = read(regular(1000), clock=clock, frames='newest')
    assert stream.ready()  # the thread runs
    frames, seen = iter(stream), []
    for time in (0.001, 0.05, 0.5, 0.501, 0.6, 9):
        clock.go_to(time)
        seen += [next(frames)] if stream.ready(0) else []
    assert [frame.index for frame in seen] == [0, 1, 12, 15, 225]
    assert [frame.dropped for frame in seen] == [0, 0, 10, 2, 209]
    assert all(frame.image[0, 0, 0] == frame.index for frame in seen)
    assert [frame.timestamp for frame in seen] == pytest.approx([f.index / 25 for f in seen])
    frames.close()


def test_the_delay_from_arrival_to_result(log):
    clock = TestClock(runs=False)
    stream = read(regular(1000), clock=clock, frames='newest')
    assert stream.ready() and stream.drops
    frames, delays = iter(stream), []
    for time in (0.01, 0.21, 0.5):
        clock.go_to(time)
        frame = next(frames)
        clock.go_to(time + 0.1)
        delays.append(stream.delay_of(frame))
    assert delays == pytest.approx([0.11, 0.1, 0.1])
    frames.close()
    assert 'tcp://camera/street: 3 results, 13 frames dropped; delay 100 ms' in log.text


def test_every_frame_if_that_is_asked_for():
    frames, error = outcome(read(regular(30), strict=True))
    assert [frame.index for frame in frames] == list(range(30))
    assert error == 'tcp://camera/street: connection closed'


def test_a_lost_connection_is_opened_again_and_time_goes_on(log):
    clock, connections = TestClock(), (regular(5, stamp=70), None, None, None, regular(5, 15.2, 9))
    frames, error = outcome(read(*connections, clock=clock, max_outage=100))
    assert clock.pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30, 24])
    assert [frame.index for frame in frames] == list(range(10))
    assert [frame.after_gap for frame in frames] == [None] * 5 + [True] + [None] * 4
    times = [n / 25 for n in range(5)]
    times += [15.2 + time for time in times]
    assert [frame.timestamp for frame in frames] == pytest.approx(times)
    assert error.endswith('connection lost (Connection refused), no frames for 100 s')
    lines = [line for line in log.text.splitlines() if 'tcp://camera/street' in line]
    assert len(lines) == 3 and 'frames again after 15 s' in lines[1]


def test_pauses_do_not_grow_between_stable_connections():
    clock = TestClock()
    connections = [regular(100, begin) for begin in range(0, 50, 10)]
    frames, _ = outcome(read(*connections, clock=clock, max_outage=9))
    assert len(frames) == 500 and clock.pauses[:5] == [0.5] * 5


@pytest.mark.parametrize(
    ('stamps', 'expected'),
    [
        ([5, 5.1, 99, 99.1, 99.2], [0, 0.1, 2, 2.1, 2.2]),  # jumps ahead
        ([5, 5.1, 1, 1.1, 1.2], [0, 0.1, 2, 2.1, 2.2]),  # back
        ([5, 5.1, 5.2, 5.3, 5.4], [0, 0.1, 0.2, 0.3, 0.4]),  # the network was slow
        ([5, 8, 11, 14, 17], [0, 3, 6, 9, 12]),  # a server sends some at once
        ([0, 0, 0, 0, 0], [0, 1, 2, 3, 4]),
        ([None] * 5, [0, 1, 2, 3, 4]),
    ],
)
def test_time_stamps_of_the_source_and_of_the_arrival(stamps, expected):
    frames, _ = outcome(read([(7 + n, stamp) for n, stamp in enumerate(stamps)], strict=True))
    assert [frame.timestamp for frame in frames] == pytest.approx(expected)


@pytest.mark.parametrize('display', DISPLAY)
def test_frames_of_an_address_are_those_of_the_file(tmp_path, display):
    path = encode(tmp_path / 'street.mp4', display=DISPLAY[display], length=5)
    with pytest.warns(match='no more frames after frame 4'):
        frames = list(open_any(f'file://{path}'))
    for frame, expected in zip(frames, open_any(path), strict=True):
        assert np.array_equal(frame.image, expected.image)
        assert frame.timestamp == pytest.approx(expected.timestamp)


def test_a_library_that_does_not_return_ends_with_the_limit():
    clock = TestClock(runs=False)
    frames = iter(read(regular(2), clock=clock, max_outage=0, timeout=0))
    assert next(frames).index == 0
    with pytest.raises(VideoError, match='no frames for'):
        next(frames)


def test_the_time_stamps_of_a_device(tmp_path):
    """OpenCV opens a file in place of one."""
    device = Device(str(encode(tmp_path / 'street.mp4', length=5)), LiveOptions(), Clock())
    assert [stamp for stamp, _ in device] == pytest.approx(np.arange(5) / 25)


def test_what_ffmpeg_invents_is_no_time(tmp_path):
    path = encode(tmp_path / 'street.mjpeg', 'mjpeg', length=3)
    connection = Address(f'file://{path}', LiveOptions(), Clock())
    assert [stamp for stamp, _ in connection] == [None] * 3
