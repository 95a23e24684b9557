"""Protocol of speed: what runs in which order, what counts of a clip, and figures of times."""

import threading
import time
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch

from semidff.inference import MethodError, stages
from semidff.inference.methods.boxes import Copy, Small
from semidff.inference.methods.propagation import Centered
from semidff.inference.point import Point
from semidff.points import speed_rows
from semidff.points.speed import (
    Laps,
    Timer,
    batch_of,
    clips_of,
    speedup_of,
    take_turns,
    time_parts,
)
from semidff.points.speed_rows import Row, measure_speed, speed_tables
from tests.damaged_video import write_video
from tests.tiny.models import tiny_video_detector
from tests.tiny.videos import build, frame, video_detector_cfg, write_project

FRAMES = [frame(1, index) for index in range(5)]


def plain(results: dict) -> dict:
    """Test pipeline that leaves frames as they are."""
    return {name: values[0] for name, values in batch_of(results['img']).items()}


@pytest.fixture(scope='module')
def model():
    return build(video_detector_cfg())


def test_turns_after_a_warm_up():
    seen, lines = [], []
    tasks = {name: lambda name=name: seen.append(name) or len(seen) for name in 'ab'}
    assert take_turns(tasks, 2, lines.append) == dict(a=[3, 5], b=[4, 6])
    assert seen == [*'ababab'] and len(lines) == 3


def test_clips_start_over_and_skip_what_is_not_read(tmp_path):
    video = str(write_video(tmp_path / 'in.mp4', 5, size=(96, 64)))
    frames = list(next(clips_of(video, 5)))
    clips = clips_of(video, 3)
    next(next(clips))
    assert np.array_equal(list(next(clips)), [frames[3], frames[4], frames[0]])


def test_propagation_at_the_next_key_frame_is_work_of_the_non_key_frames(model, monkeypatch):
    detect = Centered.non_key

    def slow(method, frames):
        time.sleep(0.3 * len(frames))
        return detect(method, frames)

    monkeypatch.setattr(Centered, 'non_key', slow)
    laps = Timer(model, Point('centered', 4), plain).run(FRAMES)
    assert laps.light > 0.28 and laps.key < 0.3


def test_the_first_frame_is_not_counted(model, monkeypatch):
    key, keys = Copy.key, iter([0.9, 0.2])

    def slow(*arguments):
        time.sleep(next(keys))
        return key(*arguments)

    def reading():
        for image, seconds in zip(FRAMES, [0.9, 0, 0.3], strict=False):
            time.sleep(seconds)
            yield image

    monkeypatch.setattr(Copy, 'key', slow)
    laps = Timer(model, Point('copy', 2), plain).run(reading())
    assert laps.decode == pytest.approx(0.15, abs=0.05)
    assert laps.key == pytest.approx(0.3, abs=0.15) and laps.light < 0.1
    assert laps.memory is None and laps.boxes > 0


def test_tracked_frames_are_timed_without_detection(model, monkeypatch):
    """Every second non-key frame; the picture is made where the frame is prepared."""
    detect, picture, frames = Small.non_key, stages.picture_of, []

    def slow(method, batch):
        frames.extend(batch)
        time.sleep(0.3 * len(batch))
        return detect(method, batch)

    monkeypatch.setattr(Small, 'non_key', slow)
    monkeypatch.setattr(stages, 'picture_of', lambda image: time.sleep(0.1) or picture(image))
    point = Point('small', 4, filter='both', light_every=2)
    laps = Timer(model, point, plain, workers=1).run(FRAMES)
    assert len(frames) == 1 and 0.3 < laps.light < 0.6
    assert laps.prepare >= 0.1 and laps.others > 0


def test_all_workers_run_a_clip_at_once(model):
    running, together = [], threading.Barrier(3, timeout=20)

    def wait(*_):
        running.append(threading.current_thread().name)
        together.wait()

    hook = model.temporal.flow_network.register_forward_pre_hook(wait)
    laps = Timer(model, Point('propagate', 2), plain, workers=3).run(FRAMES)
    hook.remove()
    assert laps.workers == 3 == len({*running})


@pytest.mark.parametrize(
    'reading, memory, workers, expected',
    [
        (2, None, 1, 2 + 1 + 13),
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
    reads = 0 if memory else (reading + 1) / workers
    assert laps.total(0.5, 0.5, filtering=100) == pytest.approx(13 / workers + 100 + reads)


def test_times_every_part(model):
    calls = Counter()
    watched = dict(backbone=model.spatial.detector.backbone, flow=model.temporal.flow_network)
    hooks = [
        module.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, module in watched.items()
    ]
    seconds = time_parts(model, FRAMES[:3], plain)
    for hook in hooks:
        hook.remove()
    assert {name: len(laps) for name, laps in seconds.items()} == dict(
        to_device=3, feature_network=3, task_key=3, flow_and_scale=2, warp=2, task_non_key=2
    )
    assert calls == dict(backbone=3, flow=2)


def test_non_key_frames_have_their_own_test_settings():
    model = tiny_video_detector('faster_rcnn', non_key_test_cfg=dict(rpn=dict(max_per_img=5)))
    regions = []
    head = model.spatial.detector.roi_head.bbox_head
    head.register_forward_pre_hook(lambda _, inputs: regions.append(len(inputs[0])))
    time_parts(model.eval(), FRAMES[:2], plain)
    # two key frames' features and propagated ones
    assert len(regions) == 3 and regions[2] == 5 < min(regions[:2])


# Rows


@pytest.fixture
def rows(tmp_path):
    """Makes rows of a tiny config with two checkpoints and three videos of four frames."""
    config = write_project(tmp_path, (4, 4, 4))
    torch.save(dict(state_dict=build(config.model).state_dict()), tmp_path / 'other.pth')

    def make(name: str, point: Point, weights: str = 'two.pth', **options) -> Row:
        return Row(name, str(tmp_path / 'config.py'), str(tmp_path / weights), point, **options)

    return make


@pytest.fixture
def laps(monkeypatch):
    """Milliseconds of key and light frames, by turns; decoding takes 2 and resizing 1."""
    turns = []

    def run(timer, frames):
        turn = turns.pop(0)
        key, light, memory = (*turn, *(0.0, 30.0)[len(turn) - 1 :])
        return Laps(0.002, 0.001, key / 1000, light / 1000, 0.0, boxes=7.0, memory=memory)

    monkeypatch.setattr(Timer, 'run', run)
    return turns


FRAME, COPY = Point('frame'), Point('copy', 2)


def test_figures_of_methods_and_parts(monkeypatch, rows, laps):
    """Two rounds of three frames after a warm-up, with two sets of options."""
    laps += [(9,), (9,), (9,), (9,)]
    laps += [(100,), (110, 25, 40.0), (50,), (110, 25)]
    laps += [(104,), (104, 26, 30.0), (50,), (104, 26)]
    parts = dict(
        to_device=[0.001], feature_network=[0.09], flow_and_scale=[0.012], warp=[0.003],
        task_non_key=[0.005], task_key=[0.01],
    )  # fmt: skip
    monkeypatch.setattr(speed_rows, 'time_parts', lambda *_, **__: parts)
    points = [
        Point(method, 3, precision=precision)
        for precision in ('fp32', 'bf16')
        for method in ('frame', 'propagate')
    ]
    every = [rows(f'{point.precision}: {point.method}', point) for point in points]
    report = measure_speed(every, rounds=2, parts=True)
    bounds = report['parts']['fp32']
    assert bounds['ratio'] == pytest.approx(0.2)  # (12 + 3 + 5) / (90 + 10)
    assert bounds['bound_network'] == pytest.approx(3 / 1.4)
    # every frame also takes 1 ms to be copied, beside decoding
    assert bounds['bound_end_to_end'] == pytest.approx(3 * 101 / (101 + 2 * 21))
    overheads = {name: bounds['parts_ms'][name] for name in ('decode', 'pipeline', 'to_device')}
    assert overheads == pytest.approx(dict(decode=2, pipeline=1, to_device=1))
    dense, row, faster, _ = report['rows'].values()
    for figures in (row, row['end_to_end']):  # the median of two clips
        assert figures['speed_up'] == pytest.approx((300 / 160 + 312 / 156) / 2)
        assert figures['fps'] == pytest.approx(1000 / ((160 + 156) / 6))
    assert row['key'] == pytest.approx(107) and row['non_key'] == pytest.approx(25.5)
    assert dense['key'] == pytest.approx(102) and 'non_key' not in dense
    assert (row['detections'], row['gpu_memory_mib'], dense['gpu_memory_mib']) == (7, 40, 30)
    # the reference has the same options
    assert dense['speed_up'] == faster['end_to_end']['speed_up'] == 1
    tables = list(speed_tables(report))
    assert [len(table) for table in tables] == [12, 5, 5, 5]
    assert tables[0][-2:] == [
        ('bound at l = 3, network (DFF Eq. 7)', '2.143', '2.143'),
        ('bound at l = 3, decoding to boxes', '2.119', '2.119'),
    ]
    assert tables[1][2][:4] == ('fp32: propagate', '107.0', '25.5', '18.99')
    assert tables[3][2] == ('fp32: propagate', '40')


def test_bounds_of_equation_7():
    parts = dict.fromkeys(('to_device', 'feature_network', 'task_key'), 50.0)
    parts |= dict(flow_and_scale=12.0, warp=3.0, task_non_key=5.0)
    network = speedup_of(0.2, 10)
    assert network == pytest.approx(10 / (1 + 9 * 0.2)) and speedup_of(0.2, 1) == 1
    # ten frames of 100 + 50 ms over one of 100 + 50 and nine of 20 + 50; a CPU also reads them
    for decode, memory, expected in ((0, 1, 1500 / 780), (25, None, 1750 / 1030), (200, 1, 1)):
        laps = [Laps(decode / 1000, 0.0, 0.0, 0.0, 0.0, memory=memory)]
        bounds = speed_rows.bounds_of(laps, parts, 10)
        assert bounds['bound_network'] == pytest.approx(network)
        assert bounds['bound_end_to_end'] == pytest.approx(expected)


def test_rows_take_turns_on_the_same_frames(rows, monkeypatch):
    """A dense clip has as many frames as the longest interval, and a short video starts over."""
    every = [
        rows('b', Point('propagate', 5)),
        rows('a', FRAME),
        rows('c', COPY, 'other.pth'),
        rows('d', Point('small', 4, 0.5, 3, 'causal'), channels_last=True),
    ]
    seen, executors, run, create = [], [], Timer.run, Timer.__init__
    places = {frame(*place).tobytes(): place for place in product(range(3), range(4))}

    def note_frames(timer, frames):
        frames = list(frames)
        seen.append([places[image.tobytes()] for image in frames])
        return run(timer, frames)

    def note_executor(timer, executor, point, *others):
        executors.append(executor)
        create(timer, executor, point, *others, workers=1)

    monkeypatch.setattr(Timer, 'run', note_frames)
    monkeypatch.setattr(Timer, '__init__', note_executor)
    report = measure_speed(every, rounds=2)
    first, dense, other, fast = executors
    assert first is dense and len({*executors}) == 3
    weights = build(video_detector_cfg(), seed=3).temporal.state_dict()  # of any of its methods
    for name, weight in dense.temporal.state_dict().items():
        assert torch.equal(weight, weights[name])
    # the warm-up and two rounds, evenly spread over the videos
    assert seen == [[(v, i % 4) for i in range(6)] for v in range(3) for _ in every]
    assert (report['reference'], report['rounds']) == ('a', 2)
    assert list(report['rows']) == ['b', 'a', 'c', 'd']
    for row in report['rows'].values():
        assert row['fps'] > row['end_to_end']['fps'] > 0
    assert report['rows']['a']['speed_up'] == 1


def test_figures_of_rows(rows, laps):
    """The rounds' times are those of a machine that gets slower."""
    laps += [(9,), (9,), (400,), (400,), (800,), (800,), (1200,), (600,)]
    report = measure_speed([rows('a', FRAME), rows('b', COPY)], rounds=3)
    # times 0.4, 0.8, 1.2: quartiles 0.6 and 1; speed-ups 2, 2, 4: quartiles 2 and 3
    for name, fps, speed_up in (('a', 1 / 0.8, 1), ('b', 1 / 0.3, 2)):
        expected = dict(fps=fps, speed_up=speed_up, spread=0.5, workers=1)
        assert {key: report['rows'][name][key] for key in expected} == pytest.approx(expected)
    assert next(speed_tables(report)) == [
        ('normalization to boxes', 'key, ms', 'non-key, ms', 'fps', 'speed-up', 'spread',
         'workers'),
        ('a', '800.0', '-', '1.25', '1.00', '50.0%', '1'),
        ('b', '600.0', '0.0', '3.33', '2.00', '50.0%', '1'),
    ]  # fmt: skip


def test_speed_ups_are_over_the_dense_detector_in_its_fastest_runtime(rows, laps):
    laps += [(9,), (9,), (9,), (400,), (200,), (200,)]
    dense, fast = rows('a', FRAME), rows('b', Point('frame', runtime='openvino'))
    report = measure_speed([dense, fast, rows('c', COPY)], rounds=1)
    assert [row['speed_up'] for row in report['rows'].values()] == pytest.approx([0.5, 1, 2])
    table = next(speed_tables(report))
    assert table[3][-1] == 'b' and table[0][-1] == 'over'


def test_rows_are_parsed():
    plain = Row('DFF', 'a.py', 'b.pth', Point('propagate', 10))
    assert Row.parse('DFF=a.py,b.pth,propagate,10') == plain
    options = 'scale=0.5,precision=bf16,channels_last=True,light_every=5,filter=causal'
    point = Point('propagate', 6, 0.5, 5, 'causal', precision='bf16')
    row = Row.parse(f'DFF=a.py,b.pth,propagate,6,{options}')
    assert row == plain._replace(point=point, channels_last=True)
    with pytest.raises(ValueError, match='expected NAME=CONFIG,CHECKPOINT,METHOD,L'):
        Row.parse('x=a.py,b.pth,frame')
    with pytest.raises(MethodError, match='magic'):
        Row.parse('x=a.py,b.pth,magic,5')


def test_what_cannot_be_measured(rows):
    row = rows('a', FRAME)
    with pytest.raises(ValueError, match='different names'):
        measure_speed([row, row])
    with pytest.raises(ValueError, match='give a --video'):
        measure_speed([row], cfg_options=dict(test_dataloader=None))
    report = measure_speed([rows('a', COPY)], rounds=1)
    assert report['reference'] is report['rows']['a']['speed_up'] is None
