"""Fit and calibration of adaptive key frames, the comparison with fixed ones, and the commands for
both.
"""

import copy
import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.apis import VideoInferencer
from semidff.datasets.video_list import VideoInfo, VideoListError, load_videos
from semidff.datasets.video_readers import Frame
from semidff.inference import (
    Acceleration,
    AdaptiveSchedule,
    ErrorPredictor,
    accelerate,
)
from semidff.inference.point import Point
from semidff.inference.schedule_fit import (
    FitError,
    choose_clips,
    fit_adaptive,
    relative_error,
    ridge,
    unlabeled_videos,
)
from tests.damaged_video import wipe, write_video
from tests.tiny.stages import stages
from tests.tiny.videos import build, frame, test_settings, video_detector_cfg, write_videos

ROOT = Path(__file__).resolve().parents[2]
LENGTHS = (12, 9, 10)


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """Test videos, the same ones as folders in a list, a config and a checkpoint."""
    folder = tmp_path_factory.mktemp('adaptive')
    ann_file = write_videos(folder, LENGTHS)
    for video, length in enumerate(LENGTHS):
        (folder / f'v{video}').mkdir()
        for index in range(length):
            name = folder / f'v{video}_{index:03d}.png'
            (folder / f'v{video}' / f'{index:03d}.png').hardlink_to(name)
    (folder / 'videos.txt').write_text('v0\nv1\nv2\n')
    Config(test_settings(ann_file, folder / 'work')).dump(folder / 'config.py')
    torch.save(
        dict(state_dict=build(video_detector_cfg(), seed=3).state_dict()), folder / 'two.pth'
    )
    return folder


@pytest.fixture(scope='module')
def inferencer(world):
    files = str(world / 'config.py'), world / 'two.pth'
    return VideoInferencer(*files, device='cpu', show_progress=False)


def fit_to(inferencer, videos, model=None, **options):
    options = dict(dict(clips=3, clip_length=12, max_interval=8), **options)
    model = model or inferencer.model
    return fit_adaptive(
        model, lambda image: inferencer.preprocess(Frame(image, 0, 0.0)), videos, **options
    )


@pytest.fixture(scope='module')
def fit(world, inferencer):
    return fit_to(inferencer, load_videos(world / 'videos.txt'))


def test_fit_of_an_accelerated_model(world, inferencer, fit):
    model = accelerate(copy.deepcopy(inferencer.model), Acceleration('bf16'))
    found = fit_to(inferencer, load_videos(world / 'videos.txt'), model)
    assert found.pairs == fit.pairs
    assert found.errors == pytest.approx(fit.errors, rel=0.02)


def test_calibrated_intervals_are_those_of_the_engine(inferencer, fit):
    """At each tolerance of the table, on the same videos."""
    predictor = fit.predictor
    assert len(set(predictor.intervals)) > 2
    assert list(predictor.tolerances) == sorted(predictor.tolerances)
    table = list(zip(predictor.intervals, predictor.tolerances, strict=True))
    for interval, tolerance in table[::4]:
        schedule = AdaptiveSchedule(predictor, tolerance=tolerance)
        adaptive, keys = stages(inferencer.model, schedule=schedule), 0
        for video, length in enumerate(LENGTHS):
            images = (Frame(frame(video, index), index, 0.0) for index in range(length))
            frames = adaptive.run(adaptive.prepare(images, inferencer.pipeline), chunk=1)
            keys += sum(one.sample.is_key_frame for one in frames)
        assert sum(LENGTHS) / keys == pytest.approx(interval, rel=0.03)


def test_the_report_of_a_fit(fit):
    low, middle, high = fit.errors
    assert fit.pairs == 3 * len((1, 2, 3, 4, 6)) and 0 < low <= middle <= high
    assert fit.explained is None  # no clip was left out
    low, high = fit.predictor.intervals[0], fit.predictor.intervals[-1]
    tolerances = [fit.predictor.tolerance_for(wanted) for wanted in np.linspace(low, high, 7)]
    assert tolerances == sorted(tolerances) and tolerances[0] < tolerances[-1]
    # clips of 10 frames on average do not tell about intervals beyond 4
    assert low == pytest.approx(2, abs=0.3) and 3 < high <= 0.4 * sum(LENGTHS) / len(LENGTHS)


def test_several_clips_of_a_video_whose_middle_cannot_be_decoded(inferencer, tmp_path):
    whole = write_video(tmp_path / 'whole.mp4', 200, size=(96, 64))
    middle = wipe(tmp_path / 'middle.mp4', whole, 0.4, 0.6)
    damaged = middle, wipe(tmp_path / 'a.mp4', whole, 0.05)
    videos = [VideoInfo(str(path), '', 200, 64, 96) for path in damaged]
    # four clips of each video, from frames 19, 69, 119 and 169 on; the middle two cannot be decoded
    assert fit_to(inferencer, videos[:1], clips=4).pairs == 2 * len((1, 2, 3, 4, 6))
    with pytest.raises(FitError, match='from 1 videos'):
        fit_to(inferencer, videos[1:], clips=4)


def test_clips_are_spread_over_the_videos():
    def starts(lengths, clips):
        videos = [VideoInfo(str(length), '', length, 64, 96) for length in lengths]
        return [(video.length, start) for video, start in choose_clips(videos, clips, 60)]

    assert starts([100, 30, 200], 3) == [(100, 20), (30, 0), (200, 70)]
    assert starts([100, 30, 200], 2) == [(100, 20), (200, 70)]
    assert starts([240, 30], 5) == [(240, 10), (240, 90), (240, 170), (30, 0)]


def test_ridge_finds_the_law():
    statistics = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))
    statistics[:, 2] = 0  # no scale field
    truth = ErrorPredictor([0.5, 1.5, 0.0, -0.4], math.log(0.2))
    found = ridge(statistics, truth.of_statistics(statistics).log())
    assert found.weights == pytest.approx(truth.weights, abs=0.01)
    assert found.bias == pytest.approx(truth.bias, abs=0.01)


def test_relative_errors_are_of_all_levels_together():
    truth = [torch.full((2, 1, 2, 2), 3.0), torch.zeros(2, 1, 1, 1)]
    wrong = [truth[0].clone(), truth[1].clone()]
    wrong[1][0] = 1.5
    wrong[0][1] = 0
    assert relative_error(wrong, truth).tolist() == pytest.approx([1.5 / 6, 1.0])


def test_the_videos_of_a_config(world):
    def lengths(*wrappers, **options):
        dataset = dict(type='UnlabeledVideoDataset', **options)
        for wrapper in wrappers:
            dataset = dict(type=wrapper, dataset=dataset)
        config = Config(dict(train_dataloader=dict(dataset=dataset)))
        return [video.length for video in unlabeled_videos(config)]

    assert lengths('SampleStream', ann_file=str(world / 'videos.txt')) == list(LENGTHS)
    (world / 'frames.txt').write_text('v0 1 3 12\nv0 1 7 12\nv2 1 4 10\n')
    assert lengths(ann_file=str(world / 'frames.txt'), lists='frames') == [12, 10]
    with pytest.raises(VideoListError, match='--videos'):
        unlabeled_videos(Config.fromfile(world / 'config.py'))


def call(tool: str, *argv: str | Path) -> None:
    """Runs a tool in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [f'tools/{tool}', *map(str, argv)])
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')


def test_from_the_fit_to_the_test(world, capsys):
    config, weights, file = world / 'config.py', world / 'two.pth', world / 'adaptive.json'
    options = ['--clips', 3, '--clip-length', 12, '--max-interval', 8]
    call(
        'analysis/fit_adaptive.py', config, weights, '--out', file, '--videos',
        world / 'videos.txt', *options,
    )  # fmt: skip
    assert 'average interval' in capsys.readouterr().out

    schedule = ['--adaptive', file, '--key-interval', 3, '--scene-cuts']
    metrics = world / 'metrics.json'
    call(
        'test.py', config, weights, *schedule, '--metrics-out', metrics,
        '--cfg-options', 'experiment_name=adaptive',
    )  # fmt: skip
    found = json.loads(metrics.read_text())
    assert found['schedule/interval'] == pytest.approx(3, rel=0.35)
    assert found['schedule/key_share'] == pytest.approx(1 / found['schedule/interval'])

    capsys.readouterr()
    call('video_demo.py', world / 'v0', config, weights, *schedule, '--device', 'cpu')
    assert '12 frames' in capsys.readouterr().out


def test_operating_points_have_the_accuracy_of_the_test(world, capsys):
    """Schedules are compared as operating points.

    Intervals that are longer than all clips, or that the predictor is not calibrated for, are left
    out.
    """
    file, out = world / 'table.json', world / 'points'
    ErrorPredictor([0] * 4, 0.0, (0.5, 2.0), (2.0, 9.0)).save(file)
    args = world / 'config.py', world / 'two.pth'
    call(
        'analysis/operating_points.py', *args, '--adaptive', file, '--key-intervals', 4, 12, 100,
        '--scales', 1, '--methods', 'propagate', 'adaptive', '--rounds', 1, '--phases', 1,
        '--out', out,
        '--detector', world / 'two.pth',
    )  # fmt: skip
    assert 'report.md, report.png, points.json' in capsys.readouterr().out
    table = json.loads((out / 'points.json').read_text())
    rows = {Point(row['method'], row['key_interval']): row for row in table['points']}
    assert rows.keys() == {
        Point('frame'), Point('propagate', 4), Point('propagate', 12), Point('adaptive', 4)
    }  # fmt: skip
    call(
        'test.py', *args, '--key-interval', 4, '--metrics-out', world / 'm.json',
        '--cfg-options', 'experiment_name=fixed',
    )  # fmt: skip
    expected = json.loads((world / 'm.json').read_text())
    found, longer = rows[Point('propagate', 4)], rows[Point('propagate', 12)]
    assert found['metrics']['mAP'] == pytest.approx(expected['vid/mAP'], abs=1e-6)
    assert found['interval'] == pytest.approx(expected['schedule/interval'])
    assert longer['interval'] == pytest.approx(sum(LENGTHS) / 3)
    assert (out / 'report.png').stat().st_size > 5000 and (out / 'report.md').stat().st_size
