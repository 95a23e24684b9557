"""The protocol for sparsely labeled videos in the test loop and in tools/test.py."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from semidff.datasets.transforms.pack import META_KEYS
from semidff.inference import VideoEngine
from tests.tiny_video import (
    batch,
    build,
    test_settings,
    video_detector_cfg,
    write_videos,
)

ROOT = Path(__file__).resolve().parents[2]
LENGTHS = (6, 4)
L = 3


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """Videos that are labeled in full (val.json) and in one frame each (sparse.json).

    The labels are what the detector, with its random weights, believes in most.
    """
    folder = tmp_path_factory.mktemp('world')
    model = build(video_detector_cfg(), seed=3)
    torch.save(dict(state_dict=model.state_dict()), folder / 'm.pth')
    content = json.loads(write_videos(folder, LENGTHS).read_text())
    engine = VideoEngine(model, 'frame')
    for image, label in zip(content['images'], content['annotations'], strict=True):
        [result] = engine.push(batch(image['video_id'], image['frame_id']))
        x1, y1, x2, y2 = result.pred_instances.bboxes[0].tolist()
        label['bbox'] = [x1, y1, x2 - x1, y2 - y1]
        label['category_id'] = int(result.pred_instances.labels[0]) + 1
    (folder / 'val.json').write_text(json.dumps(content))
    for image in content['images']:
        image['is_labeled'] = image['frame_id'] == 3
    labeled = {image['id'] for image in content['images'] if image['is_labeled']}
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in labeled]
    (folder / 'sparse.json').write_text(json.dumps(content))
    return folder


def settings(world, name, **test_cfg):
    result = test_settings(world / f'{name}.json', world / 'work', key_interval=L, **test_cfg)
    return dict(result, load_from=str(world / 'm.pth'), experiment_name=f'run{os.urandom(4).hex()}')


def run(world, name='val', **test_cfg):
    return Runner.from_cfg(Config(settings(world, name, **test_cfg))).test()


@pytest.mark.parametrize('name', ['val', 'sparse'])
def test_distance_zero_and_method_frame_are_the_frame_by_frame_test(world, name):
    frame = run(world, name, method='frame')
    assert frame['vid/mAP'] > 0.5
    pairs = run(world, name, protocol='pairs')
    assert pairs['vid/mAP_at/0'] == frame['vid/mAP'] > pairs['vid/mAP_at/2']
    assert pairs['vid/mAP'] == pytest.approx(sum(pairs[f'vid/mAP_at/{d}'] for d in range(L)) / L)
    key, other = pairs['time/key_ms'], pairs['time/non_key_ms']
    assert pairs['time/mean_ms'] == pytest.approx((key + (L - 1) * other) / L)
    alone = run(world, name, method='frame', protocol='pairs')
    assert alone['vid/mAP'] == frame['vid/mAP'] and 'vid/mAP_at/1' not in alone


def test_labels_are_taken_from_the_json_where_samples_do_not_say(world):
    with_key, without = settings(world, 'sparse', protocol='pairs'), settings(world, 'sparse')
    names = tuple(name for name in META_KEYS if name != 'is_labeled')
    pack = dict(type='PackDetInputs', meta_keys=names)
    without['test_dataloader']['dataset']['pipeline'][-1] = pack
    without['test_cfg']['protocol'] = 'pairs'
    metrics = [Runner.from_cfg(Config(cfg)).test() for cfg in (with_key, without)]
    assert metrics[0]['vid/mAP'] == metrics[1]['vid/mAP']


def call_test(world, cfg, *argv):
    """Runs tools/test.py in this process."""
    Config(cfg).dump(world / 'config.py')
    call = ['tools/test.py', world / 'config.py', world / 'm.pth', *argv]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', list(map(str, call)))
        runpy.run_path(str(ROOT / 'tools' / 'test.py'), run_name='__main__')


def test_command_line(world):
    out = world / 'metrics.json'
    call_test(world, settings(world, 'sparse'), '--protocol', 'pairs', '--metrics-out', out)
    assert {f'vid/mAP_at/{d}' for d in range(L)} <= json.loads(out.read_text()).keys()


@pytest.mark.parametrize(
    ('argv', 'changed', 'message'),
    [
        (['--method', 'coast'], {}, "'coast' depends on all frames"),
        (['--render', 'videos'], {}, 'leave out render'),
        (['--scene-cuts'], {}, 'leave out schedule'),
        ([], {'test_evaluator': [dict(type='DumpResults', out_file_path='o.pkl')]}, 'DumpResults'),
        ([], {'test_cfg': dict(type='VideoTestLoop', protocol='sparse')}, "'sparse' is unknown"),
    ],
)
def test_what_pairs_cannot_do_is_refused(world, argv, changed, message):
    cfg = settings(world, 'sparse', protocol='pairs')
    with pytest.raises(SystemExit, match=message):
        call_test(world, dict(cfg, **changed), *argv)
