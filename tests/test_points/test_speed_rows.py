"""Reports of speed: what takes turns on which frames, and the figures of given times."""

from itertools import product

import pytest
import torch
from mmengine.config import Config

from semidff.inference import MethodError
from semidff.inference.point import Point
from semidff.points import speed_rows as module
from semidff.points.speed import Laps, Timer
from semidff.points.speed_rows import Row, measure_speed, speed_tables
from tests.damaged_video import write_video
from tests.tiny.videos import build, frame, video_detector_cfg, write_project


@pytest.fixture
def video(tmp_path):
    return str(write_video(tmp_path / 'in.mp4', 5, size=(96, 64)))


@pytest.fixture
def rows(tmp_path):
    """Makes rows of a tiny config with two checkpoints and three videos of four frames."""
    config = write_project(tmp_path, (4, 4, 4))
    torch.save(dict(state_dict=build(config.model).state_dict()), tmp_path / 'other.pth')

    def make(name: str, method: str, key_interval: int, weights: str = 'two.pth', **options) -> Row:
        paths = str(tmp_path / 'config.py'), str(tmp_path / weights)
        names = 'filter', 'light_every', 'scale', 'precision', 'runtime'
        kinds = {key: options.pop(key) for key in names if key in options}
        return Row(name, *paths, Point(method, key_interval, **kinds), **options)

    return make


@pytest.fixture
def timers(monkeypatch):
    """What is timed, one interval at a time: model, point and l."""
    made, create = [], Timer.__init__

    def note(timer, model, point, pack, length):
        made.append((model, point, length))
        create(timer, model, point, pack, length, workers=1)

    monkeypatch.setattr(Timer, '__init__', note)
    return made


@pytest.fixture
def clips(monkeypatch):
    """The clips that are run: the videos and numbers of their frames."""
    seen, run = [], Timer.run
    numbers = {frame(*place).tobytes(): place for place in product(range(3), range(4))}

    def run_and_note(timer, frames):
        frames = list(frames)
        seen.append([numbers[image.tobytes()] for image in frames])
        return run(timer, frames)

    monkeypatch.setattr(Timer, 'run', run_and_note)
    return seen


def given(key, light=0.0, memory=30.0) -> Laps:
    """A clip on a GPU, with 2 ms for decoding and 1 for resizing, which go on meanwhile."""
    return Laps(0.002, 0.001, key / 1000, light / 1000, 0.0, boxes=7.0, memory=memory)


def test_figures_of_methods_and_parts(monkeypatch, rows):
    """Two rounds of three frames after a warm-up, with two sets of options."""
    frame = given(9), given(100), given(104)
    propagate = given(9), given(110, 25, 40.0), given(104, 26)
    fast = given(9), given(50), given(50)
    turns = [
        clip for round_ in zip(frame, propagate, fast, propagate, strict=True) for clip in round_
    ]
    monkeypatch.setattr(Timer, 'run', lambda timer, frames: turns.pop(0))
    parts = dict(
        to_device=[0.001], feature_network=[0.09], flow_and_scale=[0.012], warp=[0.003],
        task_non_key=[0.005], task_key=[0.01]
    )  # fmt: skip
    monkeypatch.setattr(module, 'time_parts', lambda model, clip: parts)
    report = measure_speed(
        [
            rows(f'{precision}: {method}', method, 3, precision=precision)
            for precision in ('fp32', 'bf16')
            for method in ('frame', 'propagate')
        ],
        rounds=2,
        parts=True,
    )
    bounds = report['parts']['fp32']
    assert bounds['ratio'] == pytest.approx(0.2)
    assert bounds['bound_network'] == pytest.approx(3 / 1.4)
    assert bounds['bound_end_to_end'] == pytest.approx(3 * 101 / (101 + 2 * 21))
    overheads = {name: bounds['parts_ms'][name] for name in ('decode', 'pipeline', 'to_device')}
    assert overheads == pytest.approx(dict(decode=2, pipeline=1, to_device=1))
    dense, row, faster, _ = report['rows'].values()
    whole = row['end_to_end']
    assert row['speed_up'] == pytest.approx((300 / 160 + 312 / 156) / 2)  # the median of two clips
    assert whole['speed_up'] == pytest.approx((300 / 160 + 312 / 156) / 2)
    assert row['key'] == pytest.approx(107) and row['non_key'] == pytest.approx(25.5)
    assert whole['fps'] == pytest.approx(1000 / ((160 + 156) / 6))
    assert dense['key'] == pytest.approx(102) and 'non_key' not in dense
    assert dense['end_to_end']['speed_up'] == 1
    assert (row['detections'], row['gpu_memory_mib'], dense['gpu_memory_mib']) == (7, 40, 30)
    assert faster['end_to_end']['speed_up'] == 1, 'the reference has the same options'
    tables = list(speed_tables(report))
    assert [len(table) for table in tables] == [12, 5, 5, 5]
    assert tables[0][-2:] == [
        ('bound at l = 3, network (DFF Eq. 7)', '2.143', '2.143'),
        ('bound at l = 3, decoding to boxes', '2.119', '2.119'),
    ]
    assert tables[1][2][:4] == ('fp32: propagate', '107.0', '25.5', '18.99')
    assert tables[3][2] == ('fp32: propagate', '40')


def test_rows_take_turns_on_the_same_frames(rows, timers, clips):
    given = [rows('b', 'propagate', 3), rows('a', 'frame', 1), rows('c', 'copy', 2, 'other.pth')]
    report = measure_speed(given, rounds=2)
    lengths = {point.method: length for _, point, length in timers}
    assert lengths == dict(propagate=3, frame=3, copy=2)
    models = {point.method: model for model, point, _ in timers}
    assert models['propagate'] is models['frame'] is not models['copy']
    assert all(
        torch.equal(
            models['frame'].temporal.state_dict()[name], value
        )  # as any of its methods needs
        for name, value in build(video_detector_cfg(), seed=3).temporal.state_dict().items()
    )
    # the warm-up and two rounds, evenly spread over the videos: l frames after a key frame
    assert clips == [[(v, i) for i in range(4)] for v in range(3) for _ in range(3)]
    assert (report['reference'], report['rounds']) == ('a', 2)
    assert list(report['rows']) == ['b', 'a', 'c']
    for row in report['rows'].values():
        assert row['fps'] > 0 and row['workers'] == 1
    assert report['rows']['a']['speed_up'] == 1


def test_a_dense_clip_has_at_most_ten_frames_and_a_short_video_starts_over(rows, timers, clips):
    measure_speed([rows('a', 'frame', 1), rows('b', 'copy', 12)], rounds=1)
    assert [length for *_, length in timers] == [10, 12]
    assert [index for _, index in clips[1]] == [*([0, 1, 2, 3] * 3), 0]


def test_rows_with_filters_scales_and_speed_options(rows, timers):
    given = [
        rows('filtered', 'small', 4, filter='causal', light_every=3, scale=0.5),
        rows('dense', 'frame', 1),
        rows('dense in half', 'frame', 1, precision='bf16', channels_last=True),
        rows('half', 'copy', 2, precision='bf16', channels_last=True),
    ]
    found = measure_speed(given, rounds=1)['rows']
    assert timers[0][1] == Point('small', 4, 0.5, 3, 'causal')
    assert all(row['fps'] > row['end_to_end']['fps'] > 0 for row in found.values())
    assert found['filtered']['speed_up'] > 0 and found['half']['speed_up'] > 0
    assert found['dense in half']['speed_up'] == found['dense']['speed_up'] == 1


def test_configs_without_test_data_have_frames_of_their_own_size(
    rows, video, tmp_path, monkeypatch
):
    """Their pipeline is that of the image detector."""
    made = []
    for side in (32, 64):
        row = rows(str(side), 'frame', 1)
        config = Config.fromfile(row.config)
        resize = dict(type='Resize', scale=(side, side), keep_ratio=False)
        steps = [dict(type='LoadImageFromFile'), resize, dict(type='PackVideoFrame')]
        config.detector_dataset = dict(pipeline=steps)
        for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
            config.pop(key)
        config.dump(tmp_path / f'{side}.py')
        made.append(row._replace(config=str(tmp_path / f'{side}.py')))
    sizes, run = [], Timer.run

    def run_and_note(timer, frames):
        first, *others = frames
        sizes.append(timer._pack(first)['inputs'][0].shape[1:])
        return run(timer, [first, *others])

    monkeypatch.setattr(Timer, 'run', run_and_note)
    measure_speed(made, rounds=1, video=video)
    assert sizes == 2 * [(32, 32), (64, 64)]


def test_figures_of_rows(monkeypatch, rows):
    """The rounds' times are those of a machine that gets slower."""
    times = iter([9, 9, 400, 400, 800, 800, 1200, 600])  # half of it, for a copy at l = 2
    monkeypatch.setattr(Timer, 'run', lambda timer, frames: given(next(times)))
    report = measure_speed([rows('a', 'frame', 1), rows('b', 'copy', 2)], rounds=3)
    # times 0.4, 0.8, 1.2: quartiles 0.6 and 1
    expected = dict(fps=pytest.approx(1 / 0.8), speed_up=1, spread=pytest.approx(0.5), workers=1)
    assert expected.items() <= report['rows']['a'].items()
    # speed-ups 2, 2, 4: quartiles 2 and 3
    expected = dict(
        fps=pytest.approx(1 / 0.3), speed_up=pytest.approx(2), spread=pytest.approx(0.5)
    )
    assert expected.items() <= report['rows']['b'].items()
    assert next(speed_tables(report)) == [
        ('normalization to boxes', 'key, ms', 'non-key, ms', 'fps', 'speed-up', 'spread', 'workers'),
        ('a', '800.0', '-', '1.25', '1.00', '50.0%', '1'),
        ('b', '600.0', '0.0', '3.33', '2.00', '50.0%', '1'),
    ]  # fmt: skip


def test_speed_ups_are_over_the_dense_detector_in_its_fastest_runtime(monkeypatch, rows):
    times = iter([9, 9, 9, 400, 200, 200])
    monkeypatch.setattr(Timer, 'run', lambda timer, frames: given(next(times)))
    dense, fast = rows('a', 'frame', 1), rows('b', 'frame', 1, runtime='openvino')
    report = measure_speed([dense, fast, rows('c', 'copy', 2)], rounds=1)
    assert [row['speed_up'] for row in report['rows'].values()] == pytest.approx([0.5, 1, 2])
    table = next(speed_tables(report))
    assert table[3][-1] == 'b' and table[0][-1] == 'over'


def test_rows_are_parsed():
    plain = Row('DFF', 'a,1.py', 'b,1.pth', Point('propagate', 10))
    assert Row.parse('DFF=a,1.py,b,1.pth,propagate,10') == plain
    options = 'scale=0.5,precision=bf16,channels_last=True,light_every=5,filter=causal'
    assert Row.parse(f'DFF=a,1.py,b,1.pth,propagate,6,{options}')[3:] == (
        Point('propagate', 6, 0.5, 5, 'causal', precision='bf16'), True, False, None
    )  # fmt: skip
    with pytest.raises(ValueError, match='expected NAME=CONFIG,CHECKPOINT,METHOD,L'):
        Row.parse('x=a.py,b.pth,frame,0')
    with pytest.raises(ValueError, match='with the options channels_last'):
        Row.parse('x=a.py,b.pth,frame,1,half=True')
    with pytest.raises(MethodError, match='magic'):
        Row.parse('x=a.py,b.pth,magic,5')


def test_what_cannot_be_measured(rows):
    row = rows('a', 'frame', 1)
    with pytest.raises(ValueError, match="different names, got \\['a', 'a'\\]"):
        measure_speed([row, row])
    with pytest.raises(ValueError, match='config.py: has no test data; give a --video'):
        measure_speed([row], cfg_options=dict(test_dataloader=None))
    report = measure_speed([rows('a', 'copy', 2)], rounds=1)
    assert report['reference'] is report['rows']['a']['speed_up'] is None
