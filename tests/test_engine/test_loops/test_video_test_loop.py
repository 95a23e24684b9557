"""The test loop and tools/test.py, end to end on tiny videos."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from semidff.engine.loops import video_test_loop
from semidff.engine.loops.video_test_loop import FrameOrder
from semidff.inference import MethodError
from tests.processes import run_in_group
from tests.tiny_video import batch, build, test_settings, video_detector_cfg, write_videos

ROOT = Path(__file__).resolve().parents[3]
LENGTHS = (7, 5, 3)


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """Videos, a config and a checkpoint on disk."""
    folder = tmp_path_factory.mktemp('world')
    ann_file = write_videos(folder, LENGTHS)
    Config(test_settings(ann_file, folder / 'work')).dump(folder / 'config.py')
    model = build(video_detector_cfg(), seed=3)
    torch.save(dict(state_dict=model.state_dict()), folder / 'two.pth')
    torch.save(dict(state_dict=model.spatial.detector.state_dict()), folder / 'one.pth')
    return folder


def call_test(*argv: str | Path) -> None:
    """Runs tools/test.py in this process."""
    with pytest.MonkeyPatch.context() as patch:
        name = f'experiment_name=cli{os.urandom(4).hex()}'
        patch.setattr(sys, 'argv', ['tools/test.py', *map(str, argv), '--cfg-options', name])
        runpy.run_path(str(ROOT / 'tools' / 'test.py'), run_name='__main__')


def run(world: Path, **test_cfg) -> tuple[dict, list[list[str]]]:
    """Tests in this process; returns the metrics and the detections file's lines."""
    out = world / 'run.txt'
    out.unlink(missing_ok=True)
    settings = test_settings(world / 'val.json', world / 'work', **test_cfg)
    settings['test_evaluator'][0]['outfile'] = str(out)
    settings['load_from'] = str(world / 'two.pth')
    settings['experiment_name'] = f'run{os.urandom(4).hex()}'
    metrics = Runner.from_cfg(Config(settings)).test()
    return metrics, out.read_text().splitlines()


def pairs_settings(world: Path) -> dict:
    """Tests pairs of frames; the labels are what method frame detects first in each frame."""
    content = json.loads((world / 'val.json').read_text())
    rows = [line.split() for line in run(world, method='frame')[1]]
    first = {int(row[0]): row for row in reversed(rows)}
    for number, label in enumerate(content['annotations'], 1):
        x1, y1, x2, y2 = map(float, first[number][3:])
        label.update(bbox=[x1, y1, x2 - x1, y2 - y1], category_id=int(first[number][1]))
    (world / 'own.json').write_text(json.dumps(content))
    settings = test_settings(world / 'own.json', world / 'work', protocol='pairs', key_interval=2)
    return dict(settings, load_from=str(world / 'two.pth'), experiment_name='pairs')


def test_interval_one_equals_frame_for_every_method(world):
    reference = run(world, method='frame')[1]
    assert len(reference) > 3 * sum(LENGTHS)
    for method in ('propagate', 'copy', 'coast', 'interpolate'):
        assert run(world, method=method, key_interval=1)[1] == reference
    assert run(world, method='propagate', key_interval=4)[1] != reference


def test_processes_must_share_whole_videos(world, monkeypatch):
    """mmdet's sampler gives each process every second frame, which is another motion."""
    settings = test_settings(world / 'val.json', world / 'work')
    settings['test_dataloader']['sampler'] = dict(type='DefaultSampler', shuffle=False)
    settings['experiment_name'] = f'run{os.urandom(4).hex()}'
    runner = Runner.from_cfg(Config(settings))
    assert runner.test_loop.method == 'propagate'
    settings['experiment_name'] = f'run{os.urandom(4).hex()}'
    runner = Runner.from_cfg(Config(settings))
    monkeypatch.setattr(video_test_loop, 'get_world_size', lambda: 2)
    with pytest.raises(MethodError, match="DefaultSampler divides the frames.*'VideoSampler'"):
        runner.test_loop  # noqa: B018


def test_metrics_of_another_file_are_refused(world, tmp_path):
    """Its ids are those of other frames."""
    content = json.loads((world / 'val.json').read_text())
    for image in content['images']:
        image['file_name'] = f'other_{image["file_name"]}'
    (tmp_path / 'other.json').write_text(json.dumps(content))
    settings = test_settings(world / 'val.json', world / 'work')
    settings['test_evaluator'][0]['ann_file'] = str(tmp_path / 'other.json')
    settings['experiment_name'] = f'run{os.urandom(4).hex()}'
    with pytest.raises(ValueError, match='its id 0 is that of other_.*set test_evaluator.ann_file'):
        Runner.from_cfg(Config(settings)).test()


def test_metrics_hold_times(world):
    metrics, _ = run(world, method='propagate', key_interval=3)
    assert {'vid/mAP', 'time/key_ms', 'time/non_key_ms', 'time/mean_ms', 'fps'} <= metrics.keys()
    assert metrics['fps'] == pytest.approx(1000 / metrics['time/mean_ms'])
    assert 'time/non_key_ms' not in run(world, method='frame')[0]
    offline, _ = run(world, method='centered', key_interval=3)
    assert {'time/mean_ms', 'fps', 'schedule/interval'} <= offline.keys()
    assert not {'time/key_ms', 'time/non_key_ms', 'schedule/cost'} & offline.keys()


def test_rendering(world):
    run(world, render=dict(out_dir=str(world / 'videos'), max_videos=2))
    assert sorted(p.name for p in (world / 'videos').iterdir()) == ['clips_v0.mp4', 'clips_v1.mp4']


def test_frames_out_of_order_are_refused():
    def order(*frames):
        checker = FrameOrder()
        return [checker.begins_video(batch(*frame)['data_samples'][0]) for frame in frames]

    assert order((0, 0), (0, 1), (0, 5), (1, 0)) == [True, False, False, True]
    for frames in (((0, 1), (0, 0)), ((0, 0), (0, 0)), ((0, 0), (1, 0), (0, 1))):
        with pytest.raises(ValueError, match='VideoSampler'):
            order(*frames)
    sample = batch(0, 0)['data_samples'][0]
    sample.pop('video_id')
    with pytest.raises(ValueError, match='end the pipeline with PackVideoFrame'):
        FrameOrder().begins_video(sample)


def test_two_processes_share_the_videos_with_equal_results(world, tmp_path):
    """Three videos for two processes; then one video, so that one process has nothing to do."""
    single = write_videos(tmp_path, (4,))
    Config(test_settings(single, tmp_path / 'work')).dump(tmp_path / 'single.py')
    pairs = pairs_settings(world)
    Config(pairs).dump(tmp_path / 'pairs.py')
    options = ['--method', 'coast', '--key-interval', 3]
    calls = [
        [world / 'config.py', world / 'two.pth', *options, '--detections', tmp_path / 'three.txt',
         '--metrics-out', tmp_path / 'three.json'],
        [tmp_path / 'single.py', world / 'two.pth', *options, '--detections', tmp_path / 'one.txt',
         '--metrics-out', tmp_path / 'one.json'],
        [tmp_path / 'pairs.py', world / 'two.pth', '--metrics-out', tmp_path / 'pairs.json'],
    ]  # fmt: skip
    run_in_group(tmp_path, [['test.py', *call] for call in calls])
    metrics, lines = run(world, method='coast', key_interval=3)
    assert (tmp_path / 'three.txt').read_text().splitlines() == lines
    shared = json.loads((tmp_path / 'three.json').read_text())
    assert shared['vid/mAP'] == metrics['vid/mAP']
    assert shared['fps'] > 0
    frames = {line.split()[0] for line in (tmp_path / 'one.txt').read_text().splitlines()}
    assert len(frames) == 4
    assert json.loads((tmp_path / 'one.json').read_text())['fps'] > 0
    alone = Runner.from_cfg(Config(pairs)).test()
    shared = json.loads((tmp_path / 'pairs.json').read_text())
    for name in ('vid/mAP_at/0', 'vid/mAP_at/1', 'vid/mAP'):
        assert shared[name] == alone[name] > 0.1


def test_command_line_with_stage_one_weights(world):
    call_test(
        world / 'config.py', world / 'one.pth', '--method', 'frame', '--render', world / 'cli',
        '--render-videos', '1', '--metrics-out', world / 'frame.json', '--work-dir', world / 'logs',
    )  # fmt: skip
    assert [p.name for p in (world / 'cli').iterdir()] == ['clips_v0.mp4']
    metrics = json.loads((world / 'frame.json').read_text())
    assert metrics['vid/mAP'] == run(world, method='frame')[0]['vid/mAP']
    assert 'eta' in next((world / 'logs').rglob('*.log')).read_text()


def test_options_without_a_place_in_the_config_are_refused(world):
    path = world / 'coco.py'
    settings = test_settings(world / 'val.json', world / 'work')
    settings['test_evaluator'] = [dict(type='CocoMetric')]
    Config(settings).dump(path)
    with pytest.raises(SystemExit, match='VIDMetric'):
        call_test(path, world / 'two.pth', '--detections', world / 'out.txt')
