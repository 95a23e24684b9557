"""The protocol of speed: what is run in which order, and what is counted of a clip."""

import threading
import time
from collections import Counter

import numpy as np
import pytest

from semidff.inference import AdaptiveSchedule, ErrorPredictor
from semidff.inference.methods.boxes import Copy, Small
from semidff.inference.methods.propagation import Centered
from semidff.inference.point import Point
from semidff.points import speed
from semidff.points.speed import (
    Laps,
    PartTimes,
    Timer,
    batch_of,
    clips_of,
    speedup_of,
    take_turns,
    time_parts,
)
from tests.damaged_video import write_video
from tests.tiny.models import tiny_video_detector
from tests.tiny.videos import build, frame, video_detector_cfg

PARTS = PartTimes(
    to_device=1.0,
    feature_network=90.0,
    flow_and_scale=12.0,
    warp=3.0,
    task_non_key=5.0,
    task_key=10.0,
)
FRAMES = [frame(1, index) for index in range(5)]


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg())


def test_turns_after_a_warm_up():
    seen, lines = [], []
    tasks = {name: lambda name=name: seen.append(name) or len(seen) for name in 'ab'}
    assert take_turns(tasks, 2, lines.append) == dict(a=[3, 5], b=[4, 6])
    assert seen == [*'ababab']
    assert lines == ['warm-up', 'round 1 of 2', 'round 2 of 2']


def test_clips_start_over_and_skip_what_is_not_read(tmp_path):
    video = str(write_video(tmp_path / 'in.mp4', 5, size=(96, 64)))
    frames = [image for clip in [next(clips_of(video, 5))] for image in clip]
    clips = clips_of(video, 3)
    next(next(clips))
    second = list(next(clips))
    for found, expected in zip(second, (frames[3], frames[4], frames[0]), strict=True):
        assert np.array_equal(found, expected)


def test_propagation_at_the_next_key_frame_is_work_of_the_non_key_frames(model, monkeypatch):
    detect = Centered.non_key

    def slow(*arguments):
        results = detect(*arguments)
        time.sleep(0.3 * len(results))
        return results

    monkeypatch.setattr(Centered, 'non_key', slow)
    laps = Timer(model, Point('centered', 4), batch_of).run(FRAMES)
    assert laps.light > 0.28 and laps.key < 0.3


def test_the_first_frame_is_not_counted(model, monkeypatch):
    waits = iter([0.9, 0, 0.3])  # reading the first frame, another and the next key frame
    key = Copy.key

    def slow(*arguments):
        time.sleep(next(keys))
        return key(*arguments)

    def reading():
        for image in FRAMES[:3]:
            time.sleep(next(waits))
            yield image

    keys = iter([0.9, 0.2])
    monkeypatch.setattr(Copy, 'key', slow)
    laps = Timer(model, Point('copy', 2), batch_of).run(reading())
    assert laps.decode == pytest.approx(0.15, abs=0.05)
    assert laps.key == pytest.approx(0.3, abs=0.15) and laps.light < 0.1
    assert laps.memory is None and laps.boxes > 0


def test_tracked_frames_are_timed_without_detection(model, monkeypatch):
    """Every second non-key frame; the picture is made where the frame is read."""
    detect, picture = Small.non_key, speed.picture_of
    frames = []
    slow = lambda self, own: frames.extend(own) or time.sleep(0.3 * len(own)) or detect(self, own)  # noqa: E731
    monkeypatch.setattr(Small, 'non_key', slow)
    monkeypatch.setattr(speed, 'picture_of', lambda image: time.sleep(0.1) or picture(image))
    point = Point('small', 4, filter='both', light_every=2)
    laps = Timer(model, point, batch_of, workers=1).run(FRAMES)
    assert len(frames) == 1 and 0.3 < laps.light < 0.6
    assert laps.prepare >= 0.1 and laps.others > 0


def test_all_workers_run_a_clip_at_once(model):
    running = []
    together = threading.Barrier(3, timeout=20)

    def wait(*_):
        running.append(threading.current_thread().name)
        together.wait()

    hook = model.temporal.flow_network.register_forward_pre_hook(wait)
    packed = []
    pack = lambda image: packed.append(image) or batch_of(image)  # noqa: E731
    laps = Timer(model, Point('propagate', 2), pack, workers=3).run(FRAMES)
    hook.remove()
    assert laps.workers == 3 == len({*running}) and len(packed) == 3


@pytest.mark.parametrize(
    'reading, memory, workers, expected',
    [
        (2, None, 1, (2 + 1 + 13) / 1),
        (2, None, 4, (2 + 1 + 13) / 4),
        (9, None, 4, 9),  # the thread that decodes is slower than four workers
        (2, 30.0, 1, 13),
        (20, 30.0, 1, 20),
    ],
)
def test_reading_goes_on_beside_the_networks(reading, memory, workers, expected):
    """Every second frame is a key frame. A CPU has to do all of it, however."""
    laps = Laps(reading, 1, key=19, light=5, others=1, workers=workers, memory=memory)
    assert laps.network(0.5, 0.5) == 13 / workers and laps.total(0.5, 0.5) == expected
    assert laps.total(0.5, 0.5, filtering=100) == pytest.approx(
        laps.network(0.5, 0.5) + 100 + (0 if memory else (reading + 1) / workers)
    )


def test_a_schedule_does_its_work_on_every_frame(model, monkeypatch):
    observed, observe = [], AdaptiveSchedule.observe
    schedule = AdaptiveSchedule(ErrorPredictor([0] * 4, 0.0), tolerance=float('inf'))
    monkeypatch.setattr(
        AdaptiveSchedule,
        'observe',
        lambda *given: observed.append(given[1].number) or observe(*given),
    )
    laps = Timer(model, Point('propagate', 4), batch_of, schedule=schedule, workers=1).run(FRAMES)
    assert observed == [1, 2, 3, 4] and laps.others > 0


def test_equations_5_and_7():
    assert PARTS.key == 100 and PARTS.non_key == 20
    assert PARTS.ratio == pytest.approx(0.2)
    assert PARTS.bound(10) == pytest.approx(10 / (1 + 9 * 0.2)) == speedup_of(0.2, 10)
    assert PARTS.bound(1) == 1
    # ten frames of 100 + 25 ms over one of 100 + 25 and nine of 20 + 25
    assert PARTS.bound(10, overhead=25.0) == pytest.approx(1250 / (125 + 9 * 45))
    assert PARTS.bound(10, overhead=1e9) == pytest.approx(1.0, abs=1e-6)
    # 28 ms of the networks per frame, and decoding that goes on at the same time
    assert PARTS.bound(10, reading=40.0) == pytest.approx(100 / 40)
    assert PARTS.bound(10, reading=120.0) == 1


def test_times_every_part(model):
    calls = Counter()
    watched = dict(backbone=model.spatial.detector.backbone, flow=model.temporal.flow_network)
    hooks = [
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, module in watched.items()
    ]
    seconds = time_parts(model, map(batch_of, FRAMES[:3]))
    for hook in hooks:
        hook.remove()
    assert {name: len(laps) for name, laps in seconds.items()} == dict(
        to_device=3, feature_network=3, task_key=3, flow_and_scale=2, warp=2, task_non_key=2
    )
    assert calls == dict(backbone=3, flow=2)
    doubled = {name: [2 * one for one in laps] for name, laps in seconds.items()}
    assert PartTimes.medians([seconds, doubled]).warp == pytest.approx(
        1000 * np.median(seconds['warp'] + doubled['warp'])
    )


def test_non_key_frames_have_their_own_test_settings():
    model = tiny_video_detector('faster_rcnn', non_key_test_cfg=dict(rpn=dict(max_per_img=5)))
    regions = []
    head = model.spatial.detector.roi_head.bbox_head
    head.register_forward_pre_hook(lambda _, inputs: regions.append(len(inputs[0])))
    time_parts(model.eval(), map(batch_of, FRAMES[:2]))
    # two key frames' features and propagated ones
    assert len(regions) == 3 and regions[2] == 5 < min(regions[:2])
