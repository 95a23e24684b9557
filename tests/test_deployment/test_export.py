"""R-FCN with its temporal module as two ONNX graphs, run by onnxruntime."""

import copy
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import mmcv._ext
import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.compat import torchvision_operators
from semidff.deployment import Description, ExportedGraphs, ExportError, export_onnx
from semidff.inference.executors import RUNTIMES
from semidff.inference.executors.exported import KEY, NON_KEY
from semidff.models import TemporalModule, VideoDetector
from semidff.models.graphs import KeyGraph, NonKeyGraph
from semidff.models.spatial.head_family import levels, numbered
from semidff.utils.atomic_write import atomic_write
from tests.tiny.models import (
    SIZE,
    build,
    fcos,
    tiny_semi_dff,
    tiny_video_detector,
    unmatched,
    video_config,
)
from tests.tiny.stages import live, results, stages
from tests.tiny.videos import batch, frame

pytest.importorskip('onnxscript', reason="needs the extra 'onnx'")
pytest.importorskip('onnxruntime', reason="needs the extra 'onnx'")

DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'deployment.md'
BATCHES = [batch(0, index) for index in range(4)]


def far_flow() -> VideoDetector:
    """A model whose flow leaves the map in places, where the warp reads zeros."""
    model = tiny_semi_dff('rfcn').eval()
    with torch.no_grad():
        model.temporal.flow_network.predict_flow.weight.mul_(3)
    return model


@pytest.fixture(scope='module')
def model():
    return far_flow()


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp('graphs') / 'exported'
    export_onnx(model, path, SIZE, ['disc', 'square'], boxes=False)
    return path


@torch.no_grad()
def test_some_of_the_flow_leaves_the_map(model):
    """The parity test needs such flow."""
    inputs = [model.data_preprocessor(copy.deepcopy(b), False)['inputs'] for b in BATCHES[:2]]
    flow, *_ = model.temporal.fields(*map(model.temporal.prepare, inputs))
    height, width = flow.shape[-2:]
    x = flow[0, 0] + torch.arange(width)
    y = flow[0, 1] + torch.arange(height)[:, None]
    outside = (x < -1) | (x > width) | (y < -1) | (y > height)
    assert 0.2 < outside.float().mean() < 0.8


@torch.no_grad()
def differences(model: VideoDetector, folder: Path) -> dict[str, float]:
    """Largest differences of raw outputs from PyTorch's, relative to the largest absolute value.

    The graph of non-key frames runs on the outputs of the graph of key frames.
    """
    keys, found = None, {}
    for number, one in enumerate(BATCHES):
        frame, _ = model.preprocess(one['inputs'], one['data_samples'])
        inputs = [dict(frame=frame)] * 2
        if number:
            inputs = [
                dict(key_image=key['key_image'], frame=frame)
                | numbered('key_features', levels('features', key))
                for key in keys
            ]
        name, kind = (NON_KEY, NonKeyGraph) if number else (KEY, KeyGraph)
        expected = kind(model).named(*inputs[0].values())
        runtime = RUNTIMES['onnxruntime'](folder / name, 1, 1)
        outputs = runtime({key: maps.numpy() for key, maps in inputs[1].items()})
        outputs = {key: torch.from_numpy(array) for key, array in outputs.items()}
        keys = keys or (expected, outputs)
        for key, maps in expected.items():
            error = ((outputs[key] - maps).abs().max() / maps.abs().max()).item()
            found[f'{name} {key}'] = max(error, found.get(f'{name} {key}', 0.0))
    return found


def assert_equal_boxes(model: VideoDetector, folder: Path) -> None:
    exported = ExportedGraphs(model, folder)
    some, others = (
        [one.pred_instances for one in results(stages(each, 'propagate', 4), BATCHES)]
        for each in (model, exported)
    )
    assert exported.runs_in == 'onnxruntime' and sum(map(len, some)) > 20
    assert unmatched(some, others, 1e-3) == unmatched(others, some, 1e-3) == 0


def test_both_graphs_are_equal_to_pytorch(model, folder):
    found = differences(model, folder)
    raw = ['features_0', 'anchor_scores', 'anchor_deltas', 'roi_scores', 'roi_deltas']
    assert list(found) == [
        *(f'key.onnx {name}' for name in ('key_image', *raw)),
        *(f'non_key.onnx {name}' for name in raw),
    ]
    assert max(found.values()) < 1e-3
    assert_equal_boxes(model, folder)


def test_another_model_is_noticed(model, folder):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.temporal.scale.bias.mul_(1.01)
    wrong = [name for name, error in differences(other, folder).items() if error > 1e-3]
    assert 'non_key.onnx features_0' in wrong
    assert all(name.startswith('non_key') for name in wrong)
    with pytest.raises(ValueError, match='graphs of other weights'):
        ExportedGraphs(other, folder)


def test_non_key_frames_have_their_own_test_settings(model, folder):
    limited = copy.deepcopy(model)
    limited.non_key_test_cfg = dict(rcnn=dict(max_per_img=2))
    own = ExportedGraphs(limited, folder)
    counts = []
    for detector in (limited, own):
        frames = [batch(0, index) for index in range(3)]
        found = live(stages(detector, 'propagate', key_interval=3), frames)
        counts.append([len(result.pred_instances) for result in found])
    assert counts[0] == counts[1] and counts[0][0] > 2 and counts[0][1:] == [2, 2]


@torch.no_grad()
def test_the_documented_runner(model, folder, monkeypatch):
    """The example without PyTorch in docs/deployment.md gives the outputs of the graphs in
    PyTorch."""
    monkeypatch.chdir(folder.parent)
    scope = documented()
    both = [batch(0, index) for index in range(2)]
    frames = [model.preprocess(one['inputs'], one['data_samples'])[0] for one in both]
    np.testing.assert_array_equal(scope['network_input'](frame(0, 0)), frames[0].numpy())
    expected = KeyGraph(model).named(frames[0])
    given = expected['key_image'], frames[1], expected['features_0']
    others = NonKeyGraph(model).named(*given)
    for number, outputs in enumerate((expected, others)):
        found = scope['run'](frame(0, number), number == 0)
        for name, maps in outputs.items():
            np.testing.assert_allclose(found[name], maps.numpy(), atol=1e-3)


@torch.no_grad()
def test_boxes_and_padding_without_pytorch(tmp_path, monkeypatch):
    """The same example with YOLOX, whose pipeline pads frames with 114."""
    yolox = tiny_video_detector('yolox').eval()
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(96, 96), keep_ratio=True),
        dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
    ]
    yolox.cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps))))
    about = export_onnx(yolox, tmp_path / 'exported', (96, 96))
    assert about.pipeline == dict(scale=(96, 96), keep_ratio=True, pad_value=(114.0,) * 3)
    monkeypatch.chdir(tmp_path)
    scope = documented()
    padded = np.full((96, 96, 3), 114, np.uint8)
    padded[:64] = frame(0, 0)
    inputs = torch.from_numpy(padded.transpose(2, 0, 1)[None])
    np.testing.assert_array_equal(scope['network_input'](frame(0, 0)), inputs.numpy())
    item = batch(0, 0)['data_samples'][0]
    item.set_metainfo(dict(ori_shape=(128, 192), img_shape=(64, 96), scale_factor=(0.5, 0.5)))
    (result,), key = yolox.predict_key(inputs, [item])
    pairs = [(scope['run'](frame(0, 0), True, (0.5, 0.5)), result.pred_instances.clone())]
    (result,) = yolox.predict_non_key(inputs, [item], key)
    pairs.append((scope['run'](frame(0, 0), False, (0.5, 0.5)), result.pred_instances))
    for outputs, found in pairs:
        boxes = scope['boxes'](outputs, least=0)
        assert len(found) > 5 and len(boxes) == len(found)
        rows = torch.from_numpy(boxes)  # those of nearly equal scores may change places
        one = SimpleNamespace(bboxes=rows[:, :4], scores=rows[:, 4], labels=rows[:, 5])
        assert unmatched([one], [found], 1e-4) == unmatched([found], [one], 1e-4) == 0


def documented() -> dict:
    """Run the example without PyTorch in docs/deployment.md, on a folder ``exported``; return its
    functions."""
    blocks = re.findall(r'```python\n(.*?)```', DOCS.read_text(), re.DOTALL)
    scope: dict = {}
    exec(next(block for block in blocks if 'InferenceSession' in block), scope)  # noqa: S102
    return scope


def test_the_json_describes_the_graphs(model, folder):
    about = Description.read(folder)
    assert about.shape == [64, 96] and about.strides == [16]
    assert about.key_inputs == dict(frame=['N', 3, 64, 96])
    assert about.non_key_inputs == dict(
        key_image=['N', 3, 32, 48], frame=['N', 3, 64, 96], key_features_0=['N', 32, 4, 6]
    )
    assert about.key_outputs['roi_scores'] == about.non_key_outputs['roi_scores']
    assert about.key_outputs['roi_scores'] == ['N', 27, 4, 6]
    assert about.dtype == 'uint8'
    assert about.pipeline == dict(scale=None, keep_ratio=False, pad_value=None)
    assert about.classes == ['disc', 'square']


def test_graphs_of_two_models_are_not_joined(model, folder, tmp_path, monkeypatch):
    shutil.copytree(folder, copied := tmp_path / 'copy')
    written = []

    def interrupted(path, **options):
        written.append(path.name)
        if len(written) == 2:
            raise KeyboardInterrupt
        return atomic_write(path, **options)

    monkeypatch.setattr('semidff.deployment.export.atomic_write', interrupted)
    monkeypatch.setattr('semidff.deployment.export.export_graph', lambda *_, **__: b'')
    with pytest.raises(KeyboardInterrupt):
        export_onnx(model, copied, SIZE, ['disc', 'square'], boxes=False)
    assert written == ['key.onnx', 'non_key.onnx']
    with pytest.raises(FileNotFoundError, match='video_detector.json'):
        ExportedGraphs(model, copied)


def test_models_that_have_no_two_graphs(model, tmp_path):
    detector = VideoDetector(model.spatial.detector, data_preprocessor=model.data_preprocessor)
    with pytest.raises(ExportError, match='no temporal module'):
        export_onnx(detector, tmp_path, SIZE)
    optical_flow = TemporalModule(dict(type='OpenCVFlow'), with_scale=False)
    with pytest.raises(ExportError, match='no weights .OpenCVFlow.'):
        export_onnx(detector.with_temporal(optical_flow), tmp_path, SIZE)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    mmcv._ext.__file__ != torchvision_operators.__file__,
    reason='the operator of a compiled mmcv has no ONNX form',
)
def test_deformable_convolutions(tmp_path):
    config = video_config('retinanet')
    config['detector'] = fcos()
    config['detector']['bbox_head']['dcn_on_last_conv'] = True
    model = build(config).eval()
    for name, parameter in model.named_parameters():
        if 'conv_offset' in name:
            torch.nn.init.normal_(parameter, std=0.1)
    export_onnx(model, tmp_path, SIZE, boxes=False)
    assert max(differences(model, tmp_path).values()) < 1e-3
    assert_equal_boxes(model, tmp_path)
