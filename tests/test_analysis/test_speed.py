"""The protocol of speed: what is run in which order, and what is counted of a clip."""

import threading
import time
from collections import Counter

import numpy as np
import pytest

from semidff.analysis import speed
from semidff.analysis.speed import (
    ClipTimer,
    ClipTimes,
    PartTimes,
    batch_of,
    clips_of,
    speedup_of,
    take_turns,
    time_parts,
)
from semidff.inference import AdaptiveSchedule, ErrorPredictor, SceneCutSchedule
from semidff.inference.methods.boxes import Copy, Small
from semidff.inference.methods.propagation import Centered
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
    key, *non_key = ClipTimer(model, 'centered', 4, batch_of).run(FRAMES).seconds[:, 2]
    assert min(non_key) > 0.25 and key < 0.3


def test_the_first_key_frame_is_not_counted_and_the_next_one_stands_first(model, monkeypatch):
    waits = iter([0.6, 0, 0.3])  # reading the first frame, another and the next key frame
    key = Copy.key

    def slow(*arguments):
        time.sleep(next(keys))
        return key(*arguments)

    def reading():
        for image in FRAMES[:3]:
            time.sleep(next(waits))
            yield image

    keys = iter([0.5, 0.2])
    monkeypatch.setattr(Copy, 'key', slow)
    clip = ClipTimer(model, 'copy', 2, batch_of).run(reading())
    assert clip.seconds[:, 0] == pytest.approx([0.3, 0], abs=0.1)
    assert clip.seconds[:, 2] == pytest.approx([0.2, 0], abs=0.15)
    assert clip.memory is None


def test_tracked_frames_are_timed_without_detection(model, monkeypatch):
    """Every second non-key frame; the picture is made where the frame is read."""
    detect, picture = Small.non_key, speed.picture_of
    slow = lambda *arguments: time.sleep(0.3) or detect(*arguments)  # noqa: E731
    monkeypatch.setattr(Small, 'non_key', slow)
    monkeypatch.setattr(speed, 'picture_of', lambda image: time.sleep(0.1) or picture(image))
    timer = ClipTimer(model, 'small', 4, batch_of, workers=1, filter='both', light_every=2)
    seconds = timer.run(FRAMES).seconds
    assert 0.3 < seconds[:, 2].sum() < 0.6 and seconds[0, 2] < 0.3 and seconds[:, 1].min() >= 0.1


def test_all_workers_run_a_clip_at_once(model):
    running = []
    together = threading.Barrier(3, timeout=20)

    def wait(*_):
        running.append(threading.current_thread().name)
        together.wait()

    hook = model.temporal.flow_network.register_forward_pre_hook(wait)
    packed = []
    pack = lambda image: packed.append(image) or batch_of(image)  # noqa: E731
    clip = ClipTimer(model, 'propagate', 2, pack, workers=3).run(FRAMES)
    hook.remove()
    assert clip.workers == 3 == len({*running}) and clip.seconds.shape == (2, 3)
    assert len(packed) == 3 and clip.detections >= 2


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
    """A CPU has to do all of it, however."""
    seconds = np.array([[reading, 1, 20], [reading, 1, 6]], float)
    clip = ClipTimes(seconds, 0, memory, workers)
    assert clip.total == expected and clip.network == 13 / workers


@pytest.mark.parametrize(('interval', 'frames'), [(1, 1), (1.3, 2), (2.4, 2), (2.6, 3)])
def test_a_schedule_does_its_work_at_an_average_interval(model, interval, frames):
    """A cut at each frame and an error of infinity, which are not asked for key frames."""
    adaptive = AdaptiveSchedule(ErrorPredictor([0] * 4, 0.0), tolerance=0)
    schedule = SceneCutSchedule(adaptive, threshold=0)
    observed = []
    schedule.observe = lambda frame: observed.append(frame.number)
    clip = ClipTimer(model, 'propagate', interval, batch_of, schedule, workers=1).run(FRAMES)
    assert observed == list(range(1, frames))
    key, *others = clip.seconds[:, 2]
    expected = (key + (interval - 1) * np.mean([*others, 0][: max(len(others), 1)])) / interval
    assert len(others) == frames - 1 and clip.network == pytest.approx(expected)


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
