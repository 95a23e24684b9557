"""What version 0.2.0 wrote (007dde28) gives equal boxes: the files of a tiny adaptation, and graphs.

Weights are random numbers that depend on their names, so that a renamed one would be noticed.
"""

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from semidff.apis import VideoInferencer
from semidff.datasets.video_readers import Frame
from semidff.inference import VideoEngine, schedule_config
from tests.tiny.videos import CLASSES, SIZE, frame

DATA = Path(__file__).resolve().parents[1] / 'data' / '0.2.0'
FRAMES = [frame(0, index) for index in (0, 0, 0, 1, 5, 9, 9, 9, 9, 9)]
PREFIX = 'spatial.detector.'
OPTIONS = dict(device='cpu', show_progress=False)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder of ``adapt``."""
    folder = tmp_path_factory.mktemp('adapted')
    shutil.copy(DATA / 'config.txt', folder / 'config.py')
    shutil.copy(DATA / 'adaptive.json', folder)
    shapes = json.loads((DATA / 'weights.json').read_text())
    detector = {name.removeprefix(PREFIX): shapes[name] for name in shapes if PREFIX in name}
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=weights(detector), meta=meta), folder / 'detector.pth')
    meta['cfg'] = (DATA / 'config.txt').read_text()
    torch.save(dict(state_dict=weights(shapes), meta=meta), folder / 'last.pth')
    return folder


def weights(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    state = {}
    for name, shape in shapes.items():
        values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if len(shape) > 1:
            values *= (0.2 if 'retina' in name else 1) * np.prod(shape[1:]) ** -0.5
        else:
            values = 0.1 * values + (not name.endswith(('bias', 'mean', 'tracked')))
        dtype = torch.long if name.endswith('tracked') else torch.float
        state[name] = torch.tensor(values, dtype=dtype)
    return state


def check(results, name: str) -> None:
    """Compare the four best detections of each frame with those of 0.2.0."""
    expected = json.loads((DATA / 'boxes.json').read_text())[name]
    for result, (is_key, boxes, scores, labels) in zip(results, expected, strict=True):
        best = result.pred_instances[:4]
        assert result.is_key_frame == is_key and best.labels.tolist() == labels
        assert best.bboxes.numpy() == pytest.approx(np.array(boxes), abs=2e-3)
        assert best.scores.numpy() == pytest.approx(np.array(scores), abs=2e-5)


def test_a_folder_of_adapt(folder):
    """It recommends *blend* with smoothed boxes; methods without propagation use the detector's own weights."""
    recommended = VideoInferencer(folder, **OPTIONS)
    assert recommended.engine.filter == 'both', 'what has replaced the smoothing'
    assert len(list(recommended(FRAMES))) == len(FRAMES)
    interval = recommended.engine.schedule.interval
    check(
        VideoInferencer(folder, method='blend', key_interval=interval, **OPTIONS)(FRAMES), 'blend'
    )
    untrained = VideoInferencer(folder, method='interpolate', key_interval=3, **OPTIONS)
    check(untrained(FRAMES), 'detector')


def test_a_checkpoint_with_its_config(folder):
    alone = VideoInferencer(weights=folder / 'last.pth', key_interval=3, **OPTIONS)
    check(alone(FRAMES), 'checkpoint')


def test_an_adaptive_schedule(folder):
    schedule = schedule_config(3, str(folder / 'adaptive.json'))
    check(VideoInferencer(folder, schedule=schedule, **OPTIONS)(FRAMES), 'adaptive')


def test_the_description_of_exported_graphs(folder, tmp_path):
    for package in ('onnxscript', 'onnxruntime'):
        pytest.importorskip(package, reason="needs the extra 'onnx'")
    from semidff.deployment import ExportedGraphs, export_onnx

    inferencer = VideoInferencer(folder, method='propagate', **OPTIONS)
    export_onnx(inferencer.model, tmp_path, SIZE[::-1], list(CLASSES), boxes=False)
    shutil.copy(DATA / 'video_detector.json', tmp_path)
    engine = VideoEngine(ExportedGraphs(inferencer.model, tmp_path), 'propagate', key_interval=3)
    batches = (inferencer.preprocess(Frame(*pair[::-1], 0.0)) for pair in enumerate(FRAMES))
    check(engine.run(batches), 'exported')
