"""Interleaved speed measurement: what is run in which order, and the figures of given times."""

import time

import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.analysis import measure_speed as module
from semidff.analysis.clip_timer import Clip, ClipTimer, _Total
from semidff.analysis.measure_speed import SpeedRow, measure_speed
from semidff.inference import MethodError
from semidff.inference.methods.centered import Centered
from semidff.inference.methods.interpolate import Interpolate
from tests.tiny_video import build, test_settings, video_detector_cfg, write_videos


@pytest.fixture
def rows(tmp_path):
    """Makes rows of a tiny config with two checkpoints and three videos of four frames."""
    settings = test_settings(write_videos(tmp_path, (4, 4, 4)), tmp_path / 'work')
    Config(settings).dump(tmp_path / 'config.py')
    for seed in (0, 1):
        state = build(video_detector_cfg(), seed).state_dict()
        torch.save(dict(state_dict=state), tmp_path / f'{seed}.pth')

    def make(name: str, method: str, key_interval: int, seed: int = 0) -> SpeedRow:
        paths = str(tmp_path / 'config.py'), str(tmp_path / f'{seed}.pth')
        return SpeedRow(name, *paths, method, key_interval)

    return make


@pytest.fixture
def models(monkeypatch):
    """The models that are built."""
    built, load_model = [], module.load_model

    def build_and_note(*args):
        built.append(load_model(*args))
        return built[-1]

    monkeypatch.setattr(module, 'load_model', build_and_note)
    return built


@pytest.fixture
def clips(monkeypatch):
    """The clips that are run: model, method and the frames' videos and numbers."""
    seen, run = [], ClipTimer.run_interval

    def run_and_note(timer, frames):
        frames = frames[: timer._key_interval + 1]
        samples = [frame['data_samples'] for frame in frames]
        method = type(timer._engine.method).__name__
        numbers = [(s.video_id, s.frame_id) for s in samples if 'video_id' in s]
        seen.append((timer._engine.model, method, numbers or len(samples)))
        return run(timer, frames)

    monkeypatch.setattr(ClipTimer, 'run_interval', run_and_note)
    return seen


def test_rows_take_turns_on_the_same_frames(rows, models, clips):
    lines = []
    report = measure_speed(
        [rows('b', 'propagate', 3), rows('a', 'frame', 1), rows('c', 'copy', 2, seed=1)],
        rounds=2,
        progress=lines.append,
    )
    one, other = models
    expected = []
    for video in range(3):  # the warm-up and two rounds: evenly spread over the videos
        frames = [(video, index) for index in range(4)]  # l, after a key frame
        expected += [
            (one, 'Propagate', frames),
            (one, 'Frame', frames),
            (other, 'Copy', frames[:3]),
        ]
    assert clips == expected
    assert lines == ['warm-up', 'round 1 of 2', 'round 2 of 2']
    assert (report['reference'], report['rounds']) == ('a', 2)
    assert list(report['rows']) == ['b', 'a', 'c']
    for row in report['rows'].values():
        assert list(row) == ['fps', 'speed_up', 'spread'] and row['fps'] > 0
    assert report['rows']['a']['speed_up'] == 1


def test_a_clip_is_as_long_as_the_interval_and_a_dense_one_at_most_ten_frames(rows, clips):
    measure_speed([rows('a', 'frame', 1), rows('b', 'copy', 12)], rounds=1)
    assert [len(frames) for _, _, frames in clips] == [11, 13, 11, 13], 'after one key frame'
    # a video of four frames starts over
    assert [index for _, index in clips[1][2]] == [*([0, 1, 2, 3] * 3), 0]


@pytest.mark.parametrize(
    ('method', 'function', 'finished'),
    [(Interpolate, '_key', [1, 4]), (Centered, '_finish', [0, 3, 0])],
)
def test_non_key_frames_of_offline_methods_are_finished(
    rows, monkeypatch, method, function, finished
):
    """At the next key frame; nothing is left for the flush."""
    counts, run = [], getattr(method, function)

    def count(*arguments):
        results = run(*arguments)
        counts.append(len(results))
        return results

    monkeypatch.setattr(method, function, count)
    frames = next(module._clips(Config.fromfile(rows('a', 'frame', 1).config), 5, 1, None))
    timer = ClipTimer(build(video_detector_cfg()), method.__name__.lower(), 4, module._pack)
    assert timer.run_interval(frames).seconds.shape == (4, 4)
    assert counts == finished


def test_propagation_at_the_next_key_frame_is_work_of_the_non_key_frames(rows, monkeypatch):
    finish = Centered._finish

    def slow(*arguments):
        results = finish(*arguments)
        time.sleep(0.3 * len(results))
        return results

    monkeypatch.setattr(Centered, '_finish', slow)
    frames = next(module._clips(Config.fromfile(rows('a', 'frame', 1).config), 5, 1, None))
    timer = ClipTimer(build(video_detector_cfg()), 'centered', 4, module._pack)
    key, *non_key = timer.run_interval(frames).seconds[:, 3]
    assert min(non_key) > 0.25 and key < 0.3


def test_the_first_key_frame_is_not_counted_and_the_next_one_stands_first(rows, monkeypatch):
    times = iter([9000, 1000, 2000, 5000])
    monkeypatch.setattr(_Total, 'add', lambda timer, *_: setattr(timer, 'total', next(times)))
    frames = next(module._clips(Config.fromfile(rows('a', 'frame', 1).config), 4, 1, None))
    timer = ClipTimer(build(video_detector_cfg()), 'copy', 3, module._pack)
    assert timer.run_interval(frames).seconds[:, 3] == pytest.approx([5000, 1000, 2000], abs=500)


def test_rows_with_averaged_scores_and_with_a_schedule(rows, monkeypatch):
    built, create = [], ClipTimer.__init__

    def note(timer, model, method, *arguments, **options):
        built.append((method, options['smooth_scores']))
        create(timer, model, method, *arguments, **options)

    monkeypatch.setattr(ClipTimer, '__init__', note)
    both = [rows('a', 'frame', 1), rows('b', 'copy', 2)]
    measure_speed(both, rounds=1, cfg_options={'test_cfg.smooth_scores': 4})
    assert built == [('frame', 4), ('copy', 4)]
    schedule = {'test_cfg.schedule': dict(type='SceneCutSchedule', base=2)}
    report = measure_speed(both, rounds=1, cfg_options=schedule)['rows']
    assert report['a']['speed_up'] == 1
    assert report['b'] == dict(fps=None, speed_up=None, spread=None, note=module.SCHEDULED)


def test_frames_of_a_video_file(rows, clips, tmp_path):
    folder = tmp_path / 'frames'
    folder.mkdir()
    (tmp_path / 'v0_000.png').rename(folder / '0.png')
    measure_speed([rows('a', 'copy', 2)], rounds=1, video=str(folder))
    assert [frames for _, _, frames in clips] == [3, 3]


def test_configs_without_test_data_have_frames_of_their_own_size(rows, monkeypatch, tmp_path):
    """Their pipeline is that of the image detector."""
    sizes, run = [], ClipTimer.run_interval

    def run_and_note(timer, frames):
        sizes.append(frames[0]['inputs'].shape[1:])
        return run(timer, frames)

    monkeypatch.setattr(ClipTimer, 'run_interval', run_and_note)
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
    folder = tmp_path / 'frames'
    folder.mkdir()
    (tmp_path / 'v0_000.png').rename(folder / '0.png')
    measure_speed(made, rounds=1, video=str(folder))
    assert sizes == 2 * [(32, 32), (64, 64)]


def test_every_frame_is_detected(rows):
    timer = ClipTimer(build(video_detector_cfg()), 'centered', 4, module._pack)
    cfg = Config.fromfile(rows('a', 'frame', 1).config)
    frames = next(module._clips(cfg, 5, 1, None))
    clip = timer.run_interval(frames)
    assert clip.seconds.shape == (4, 4) and clip.detections > 0
    assert clip.network == pytest.approx(clip.seconds[:, 3].sum())
    assert timer.run_interval(frames).detections == clip.detections  # frames are not changed


def test_gpu_memory_is_that_of_one_clip(rows, monkeypatch):
    """The key frame of the clip before is freed first, or its size would be subtracted from this clip's."""
    timer = ClipTimer(build(video_detector_cfg()), 'propagate', 4, module._pack)
    frames = next(module._clips(Config.fromfile(rows('a', 'frame', 1).config), 5, 1, None))
    calls, reset = [], timer._engine.reset
    timer._device = torch.device('cuda')
    monkeypatch.setattr(timer._engine, 'reset', lambda: (calls.append('reset'), reset()))
    monkeypatch.setattr(
        torch.cuda, 'memory_allocated', lambda device: calls.append('allocated') or 0
    )
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda device: 3 << 20)
    for name in ('reset_peak_memory_stats', 'synchronize'):
        monkeypatch.setattr(torch.cuda, name, lambda device: None)
    own = sum(p.nbytes for p in timer._engine.model.parameters())
    assert timer.run_interval(frames).memory >= 3 + own / 2**20
    assert calls[:2] == ['reset', 'allocated']


def test_figures(monkeypatch, rows):
    """Two frames each; the rounds' times are those of a machine that gets slower."""
    times = iter([9, 9, 0.4, 0.2, 0.8, 0.4, 1.2, 0.3])

    def run(timer, frames):
        seconds = np.zeros((2, 4))
        seconds[:, :3], seconds[0, 3] = 100, next(times)
        return Clip(seconds, 0, None)

    monkeypatch.setattr(ClipTimer, 'run_interval', run)
    report = measure_speed([rows('a', 'frame', 1), rows('b', 'copy', 2)], rounds=3)
    # times 0.4, 0.8, 1.2: quartiles 0.6 and 1
    expected = dict(fps=pytest.approx(2 / 0.8), speed_up=1, spread=pytest.approx(0.5))
    assert report['rows']['a'] == expected
    # speed-ups 2, 2, 4: quartiles 2 and 3
    expected = dict(
        fps=pytest.approx(2 / 0.3), speed_up=pytest.approx(2), spread=pytest.approx(0.5)
    )
    assert report['rows']['b'] == expected


def test_without_a_row_of_method_frame_there_is_no_speed_up(rows):
    report = measure_speed([rows('a', 'copy', 2)], rounds=1)
    assert report['reference'] is None
    assert report['rows']['a']['speed_up'] is None and report['rows']['a']['spread'] == 0


def test_a_shared_model_has_the_weights_that_any_of_its_methods_needs(rows, models):
    measure_speed([rows('a', 'frame', 1), rows('b', 'propagate', 2)], rounds=1)
    expected = build(video_detector_cfg(), 0).temporal.state_dict()
    loaded = models[0].temporal.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_rows_are_parsed():
    assert SpeedRow.parse('DFF=a.py, b.pth,propagate,10') == (
        'DFF', 'a.py', 'b.pth', 'propagate', 10,
    )  # fmt: skip
    for text, words in (
        ('a.py,b.pth,frame,1', 'expected NAME=CONFIG,CHECKPOINT,METHOD,L'),
        ('x=a.py,b.pth,frame', 'expected NAME=CONFIG,CHECKPOINT,METHOD,L'),
        ('x=a.py,b.pth,frame,0', "interval '0'"),
        ('x=a.py,b.pth,frame,ten', "interval 'ten'"),
    ):
        with pytest.raises(ValueError, match=words):
            SpeedRow.parse(text)
    with pytest.raises(MethodError, match='magic'):
        SpeedRow.parse('x=a.py,b.pth,magic,5')


def test_refuses_what_cannot_be_measured(rows, tmp_path):
    row = rows('a', 'frame', 1)
    with pytest.raises(ValueError, match='rounds=0'):
        measure_speed([row], rounds=0)
    with pytest.raises(ValueError, match="different names, got rounds=1, \\['a', 'a'\\]"):
        measure_speed([row, row], rounds=1)
    options = dict(test_dataloader=None)
    with pytest.raises(ValueError, match='config.py: no test_dataloader; give a --video'):
        measure_speed([row], cfg_options=options)
