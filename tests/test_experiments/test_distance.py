"""Accuracy at each distance from the key frame."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from semidff.evaluation import VIDMetric
from semidff.experiments import Measurement
from semidff.experiments.settings import ROOT
from semidff.experiments.table import DistanceLine
from tests.test_experiments.project import TEST, cells, make_project
from tests.tiny_video import batch, build, test_settings, video_detector_cfg, write_videos

TOOL = ROOT / 'tools' / 'analysis' / 'accuracy_by_distance.py'
MODEL = "model = dict(type='V', detector=dict(type='D'), temporal=1)"
# the experiment tests' tools/test.py, with mAP at distances: each a tenth of that before less
DISTANCES = """
assert 'test_cfg.protocol=pairs' in a.cfg_options
out |= {f'vid/mAP_at/{d}': m * (1 - d / 10) for d in range(a.key_interval)}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with configs and checkpoints in it."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, one=MODEL, two=MODEL)
    head, tail = TEST.split('pathlib.Path(a.metrics_out)')
    (tmp_path / 'tools/test.py').write_text(head + DISTANCES + f'pathlib.Path(a.metrics_out){tail}')
    torch.save(dict(state_dict={'spatial.detector.w': torch.ones(1)}), 'two.pth')
    return tmp_path


def run(*argv: str) -> str | None:
    """Runs the tool; its message if there is an error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [str(TOOL), *argv, '--out', 'out'])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as end:
            return end.code
    return None


def test_table_and_picture(project, capsys):
    runs = ('--run', 'two=two.py,two.pth', '--run', 'copy=two.py,two.pth,copy')
    assert run(*runs, '--key-interval', '3') is None
    printed = capsys.readouterr().out
    assert ['frame', '80.0', '80.0', '80.0', '80.0'] in cells(printed)
    table = (project / 'out/table.md').read_text()
    assert '| | d = 0 | d = 1 | d = 2 | mean |' in table
    assert '| two | 72.0 | 64.8 | 57.6 | 64.8 |' in table
    assert '| copy | 40.0 | 36.0 | 32.0 | 36.0 |' in table
    lines = json.loads((project / 'out/table.json').read_text())
    assert [(line['row'], len(line['mAP_at'])) for line in lines] == [
        ('frame', 1), ('two', 3), ('copy', 3)
    ]  # fmt: skip
    assert lines[1]['mean'] == pytest.approx(0.72 * 0.9)
    assert (project / 'out/distance.png').read_bytes()[:4] == b'\x89PNG'


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (('--run', 'c=two.py,two.pth,coast'), "method 'coast' is unknown, or depends on more"),
        (('--run', 'two.py,two.pth'), 'expected NAME=CONFIG,CHECKPOINT'),
        (('--run', 'a=two.py,two.pth', '--key-interval', '0'), 'at least 1'),
        (('--run', 'a=two.py,gone.pth'), 'gone.pth: there is no such checkpoint'),
    ],
)
def test_bad_input_is_told_before_anything_runs(project, argv, message):
    error = run(*argv)
    assert error.startswith('tools/analysis/accuracy_by_distance.py: error: ') and message in error
    assert not Path('out').exists()


def test_undefined_values_and_tests_without_distances():
    metrics = {'vid/mAP': 0.5, 'vid/mAP_at/0': 0.5, 'vid/mAP_at/10': None, 'vid/mAP_at/2': 0.3}
    line = DistanceLine.of(Measurement('a', 'propagate', 3, 0, metrics))
    assert line.accuracies == (0.5, 0.3, None) and line.mean == pytest.approx(0.4)
    with pytest.raises(ValueError, match="row 'a' has no mAP at distances"):
        DistanceLine.of(Measurement('a', 'propagate', 3, 0, {'vid/mAP': 0.5}))


def test_agrees_with_evaluating_the_frames_of_one_distance_by_hand(tmp_path):
    length, distance = 6, 2
    model = build(video_detector_cfg(), seed=3)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'm.pth')
    ann_file = label_by_the_model(write_videos(tmp_path, (length,)), model)
    settings = test_settings(ann_file, tmp_path / 'work', key_interval=3, protocol='pairs')
    settings |= dict(load_from=str(tmp_path / 'm.pth'), experiment_name=tmp_path.name)
    metrics = Runner.from_cfg(Config(settings)).test()
    line = DistanceLine.of(Measurement('two', 'propagate', 3, 0, metrics))

    metric = VIDMetric(str(ann_file))
    metric.dataset_meta = dict(classes=('disc', 'square'))
    for index in range(length):
        metric.process(None, [by_hand(model, max(index - distance, 0), index).to_dict()])
    expected = metric.evaluate(length)['vid/mAP']
    assert line.accuracies[distance] == pytest.approx(expected, abs=1e-6)
    assert expected < line.accuracies[0] and len(line.accuracies) == 3


@torch.no_grad()
def by_hand(model, key: int, current: int):
    """A frame's result from a key frame."""
    one, two = (model.data_preprocessor(batch(0, index), False) for index in (key, current))
    results, state = model.predict_key(one['inputs'], one['data_samples'])
    if key != current:
        results = model.predict_non_key(two['inputs'], two['data_samples'], state)
    # the tiny videos number images in order
    path = f'v0_{current:03d}.png'
    results[0].set_metainfo(dict(img_id=current, frame_id=current, img_path=path))
    return results[0]


def label_by_the_model(path: Path, model) -> Path:
    """Labels are what the detector believes in most, so that something is found."""
    content = json.loads(path.read_text())
    for label in content['annotations']:
        best = by_hand(model, label['image_id'], label['image_id']).pred_instances[0]
        x1, y1, x2, y2 = best.bboxes[0].tolist()
        label.update(bbox=[x1, y1, x2 - x1, y2 - y1], category_id=int(best.labels[0]) + 1)
    path.write_text(json.dumps(content))
    return path
