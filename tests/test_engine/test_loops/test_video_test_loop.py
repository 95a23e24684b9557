"""The test loop and tools/test.py on tiny videos: all frames in order, and pairs (DFF 5.2)."""

import json
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from semidff.engine.loops import video_test_loop
from semidff.inference import MethodError
from tests.processes import call, run_in_group
from tests.tiny.stages import live, stages
from tests.tiny.videos import batch, build, test_settings, video_detector_cfg, write_videos

LENGTHS = (7, 5, 3)
L = 3


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """Videos with all labels (val.json) and with one each (sparse.json), a config and checkpoints.

    The labels are what the detector, with its random weights, believes in most.
    """
    folder = tmp_path_factory.mktemp('world')
    model = build(video_detector_cfg(), seed=3)
    torch.save(dict(state_dict=model.state_dict()), folder / 'two.pth')
    torch.save(dict(state_dict=model.spatial.detector.state_dict()), folder / 'one.pth')
    content = json.loads(write_videos(folder, LENGTHS).read_text())
    found = live(
        stages(model, 'frame'),
        (batch(one['video_id'], one['frame_id']) for one in content['images']),
    )
    for result, label in zip(found, content['annotations'], strict=True):
        x1, y1, x2, y2 = result.pred_instances.bboxes[0].tolist()
        label['bbox'] = [x1, y1, x2 - x1, y2 - y1]
        label['category_id'] = int(result.pred_instances.labels[0]) + 1
    (folder / 'val.json').write_text(json.dumps(content))
    for image in content['images']:
        image['is_labeled'] = image['frame_id'] == 2
    labeled = {image['id'] for image in content['images'] if image['is_labeled']}
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in labeled]
    (folder / 'sparse.json').write_text(json.dumps(content))
    Config(test_settings(folder / 'val.json', folder / 'work')).dump(folder / 'config.py')
    return folder


def settings(world: Path, name: str = 'val', **test_cfg) -> dict:
    """Return the settings of a test of two.pth, with a unique name, since loggers are global."""
    result = test_settings(world / f'{name}.json', world / 'work', **test_cfg)
    return dict(
        result, load_from=str(world / 'two.pth'), experiment_name=f'run{os.urandom(4).hex()}'
    )


def run(world: Path, name: str = 'val', **test_cfg) -> dict:
    """Tests in this process; returns the metrics."""
    return Runner.from_cfg(Config(settings(world, name, **test_cfg))).test()


def detections(world: Path, **test_cfg) -> list[str]:
    """Tests in this process; returns the detections file's lines."""
    given = settings(world, **test_cfg)
    given['test_evaluator'][0]['outfile'] = str(world / 'run.txt')
    Runner.from_cfg(Config(given)).test()
    return (world / 'run.txt').read_text().splitlines()


def call_test(*argv: str | Path) -> None:
    """Runs tools/test.py in this process."""
    call('test.py', *argv, '--cfg-options', f'experiment_name=cli{os.urandom(4).hex()}')


def test_interval_one_equals_frame_for_every_method(world):
    reference = detections(world, method='frame')
    assert len(reference) > 3 * sum(LENGTHS)
    for method in ('propagate', 'copy', 'interpolate'):
        assert detections(world, method=method, key_interval=1) == reference
    assert detections(world, method='propagate', key_interval=4) != reference


def test_processes_must_share_whole_videos(world, monkeypatch):
    """mmdet's sampler gives each process every second frame, which is another motion."""
    given = settings(world)
    given['test_dataloader']['sampler'] = dict(type='DefaultSampler', shuffle=False)
    assert Runner.from_cfg(Config(given)).test_loop.point.method == 'propagate'
    monkeypatch.setattr(video_test_loop, 'get_world_size', lambda: 2)
    runner = Runner.from_cfg(Config(dict(given, experiment_name=f'run{os.urandom(4).hex()}')))
    with pytest.raises(MethodError, match="DefaultSampler separates the frames.*'VideoSampler'"):
        runner.test_loop  # noqa: B018


def test_metrics_of_another_file_are_refused(world, tmp_path):
    """Its ids are those of other frames."""
    content = json.loads((world / 'val.json').read_text())
    for image in content['images']:
        image['file_name'] = f'other_{image["file_name"]}'
    (tmp_path / 'other.json').write_text(json.dumps(content))
    given = settings(world)
    given['test_evaluator'][0]['ann_file'] = str(tmp_path / 'other.json')
    with pytest.raises(ValueError, match='its id 0 is that of other_.*set test_evaluator.ann_file'):
        Runner.from_cfg(Config(given)).test()


def test_images_without_videos_test_the_detector_alone(world, tmp_path):
    """As labeling tools export them."""
    content = json.loads((world / 'val.json').read_text())
    for image in content['images']:
        del image['video_id'], image['frame_id']
    del content['videos']
    (tmp_path / 'plain.json').write_text(json.dumps(content))
    given = settings(tmp_path, 'plain')
    given['test_dataloader']['dataset']['data_prefix']['img'] = str(world)
    given['load_from'] = str(world / 'two.pth')

    def test(**options):
        changed = dict(test_cfg=given['test_cfg'] | options, experiment_name=os.urandom(4).hex())
        return Runner.from_cfg(Config(given | changed)).test()

    for options in (
        dict(method='copy'),
        dict(method='frame', filter='both'),
        dict(protocol='pairs'),
    ):
        with pytest.raises(ValueError, match=r'plain.json: each of its videos is a single frame'):
            test(**options)
    assert test(method='frame')['vid/mAP'] == run(world, method='frame')['vid/mAP']


@pytest.mark.parametrize(('method', 'keys'), [('propagate', 6), ('centered', 6), ('frame', 15)])
def test_metrics_hold_what_the_schedule_came_to(world, method, keys):
    metrics = run(world, method=method, key_interval=3, filter='none')
    assert metrics['schedule/interval'] == pytest.approx(sum(LENGTHS) / keys)
    assert metrics['schedule/key_share'] == pytest.approx(keys / sum(LENGTHS))


def test_rendering(world):
    run(world, render=dict(out_dir=str(world / 'videos'), max_videos=2))
    assert sorted(p.name for p in (world / 'videos').iterdir()) == ['clips_v0.mp4', 'clips_v1.mp4']


def test_two_processes_share_the_videos_with_equal_results(world, tmp_path):
    """Three videos for two processes; then one video, so that one process has nothing to do."""
    single = write_videos(tmp_path, (4,))
    Config(test_settings(single, tmp_path / 'work')).dump(tmp_path / 'single.py')
    pairs = settings(world, protocol='pairs', key_interval=2)
    Config(pairs).dump(tmp_path / 'pairs.py')
    options = ['--method', 'track', '--key-interval', 3]
    calls = [
        [world / 'config.py', world / 'two.pth', *options, '--detections', tmp_path / 'three.txt',
         '--metrics-out', tmp_path / 'three.json'],
        [tmp_path / 'single.py', world / 'two.pth', *options, '--detections', tmp_path / 'one.txt',
         '--metrics-out', tmp_path / 'one.json'],
        [tmp_path / 'pairs.py', world / 'two.pth', '--metrics-out', tmp_path / 'pairs.json'],
    ]  # fmt: skip
    run_in_group(tmp_path, [['test.py', *call] for call in calls])
    three, one, shared = (
        json.loads((tmp_path / f'{name}.json').read_text()) for name in ('three', 'one', 'pairs')
    )
    lines = detections(world, method='track', key_interval=3)
    assert (tmp_path / 'three.txt').read_text().splitlines() == lines
    assert three['vid/mAP'] == run(world, method='track', key_interval=3)['vid/mAP']
    assert three['schedule/interval'] == 15 / 6 and one['schedule/interval'] == 4 / 2
    frames = {line.split()[0] for line in (tmp_path / 'one.txt').read_text().splitlines()}
    assert len(frames) == 4
    alone = Runner.from_cfg(Config(pairs)).test()
    for name in ('vid/mAP_at/0', 'vid/mAP_at/1', 'vid/mAP'):
        assert shared[name] == alone[name] > 0.1


def test_command_line_with_stage_one_weights(world):
    call_test(
        world / 'config.py', world / 'one.pth', '--method', 'frame', '--render', world / 'cli',
        '--render-videos', '1', '--metrics-out', world / 'frame.json', '--work-dir', world / 'logs',
    )  # fmt: skip
    assert [p.name for p in (world / 'cli').iterdir()] == ['clips_v0.mp4']
    metrics = json.loads((world / 'frame.json').read_text())
    assert metrics['vid/mAP'] == run(world, method='frame')['vid/mAP']
    assert 'eta' in next((world / 'logs').rglob('*.log')).read_text()


@pytest.mark.parametrize('name', ['val', 'sparse'])
def test_distance_zero_and_method_frame_are_the_frame_by_frame_test(world, name):
    frame = run(world, name, method='frame', key_interval=L)
    assert frame['vid/mAP'] > 0.5
    pairs = run(world, name, protocol='pairs', key_interval=L)
    assert pairs['vid/mAP_at/0'] == frame['vid/mAP'] > pairs['vid/mAP_at/2']
    assert pairs['vid/mAP'] == pytest.approx(sum(pairs[f'vid/mAP_at/{d}'] for d in range(L)) / L)
    assert 'schedule/interval' not in pairs
    alone = run(world, name, method='frame', protocol='pairs', key_interval=L)
    assert alone['vid/mAP'] == frame['vid/mAP'] and 'vid/mAP_at/1' not in alone


@pytest.mark.parametrize(
    ('argv', 'changed', 'message'),
    [
        (['--method', 'track'], {}, "'track' depends on all frames"),
        (['--render', 'videos'], {}, 'leave out render'),
        ([], {'test_evaluator': [dict(type='DumpResults', out_file_path='o.pkl')]}, 'DumpResults'),
    ],
)
def test_what_pairs_cannot_do_is_refused(world, argv, changed, message):
    Config(dict(settings(world, protocol='pairs'), **changed)).dump(world / 'pairs.py')
    with pytest.raises(SystemExit, match=message):
        call_test(world / 'pairs.py', world / 'two.pth', *argv)
