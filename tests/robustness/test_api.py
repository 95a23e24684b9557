"""Misuse of the Python API: an error that names the argument, and no effect of one result on another."""

import json
import threading
from functools import partial

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config

from semidff.apis import VideoInferencer, detect_together
from semidff.datasets.video_readers import VideoError
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.error_messages import FileError
from tests.robustness.verdict import contents, limits
from tests.tiny_video import build, frame, test_settings, video_detector_cfg, write_videos

STORED = {
    'code': 'import os\nos.mkdir("touched")',
    'a call': 'a = __import__("os").mkdir("touched")',
    'a type': "model = dict(type='os.mkdir')",
    'a file': "model = dict(type='VideoDetector', detector='config.py')",
    'no text': 3,
    'nesting': '(' * 9999,
    'base': "_base_ = 'config.py'",
}


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A config, weights, and broken weights."""
    folder = tmp_path_factory.mktemp('api')
    Config(test_settings(write_videos(folder, (1,)), folder / 'work')).dump(folder / 'config.py')
    state = build(video_detector_cfg(), seed=3).state_dict()
    torch.save(dict(state_dict=state), folder / 'two.pth')
    name = 'temporal.scale.bias'
    for what, value in {
        'nan': state[name] * float('nan'), 'inf': state[name] + float('inf'),
        'integer': state[name].long(), 'complex': state[name].to(torch.complex64),
        'shape': state[name][:1], 'text': 'weights',
    }.items():  # fmt: skip
        torch.save(dict(state_dict={**state, name: value}), folder / f'{what}.pth')
    return folder


@pytest.fixture(scope='module')
def inferencer(files):
    return make(files)


def make(files, weights='two.pth', **options) -> VideoInferencer:
    config = str(files / 'config.py')
    settings = dict(device='cpu', key_interval=3, show_progress=False)
    return VideoInferencer(config, str(files / weights), **{**settings, **options})


@pytest.mark.parametrize('what', STORED)
def test_a_stored_config_is_not_run(files, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    state = torch.load(files / 'two.pth')['state_dict']
    torch.save(dict(state_dict=state, meta=dict(cfg=STORED[what])), tmp_path / 'w.pth')
    with limits(), pytest.raises((CheckpointError, ValueError), match=r'w\.pth|model'):
        VideoInferencer(None, 'w.pth', device='cpu')
    assert list(contents(tmp_path)) == ['w.pth']


def test_annotations_of_other_images_are_reported(files, tmp_path):
    content = json.loads((files / 'val.json').read_text())
    for image in content['images']:
        image.update(width=640, height=480)
    (tmp_path / 'val.json').write_text(json.dumps(content))
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('semidff.datasets.coco_vid.log_warning', told.append)
        for ann_file in (files / 'val.json', tmp_path / 'val.json'):
            settings = test_settings(ann_file, tmp_path)['test_dataloader']['dataset']
            dataset = DATASETS.build({**settings, 'data_prefix': dict(img=str(files))})
            assert not told
            dataset[0], dataset[0]
    assert len(told) == 1 and '96x64 pixels' in told[0] and 'says 640x480' in told[0]


FRAMES = [frame(0, n) for n in range(7)]
ERRORS = (ValueError, TypeError, OSError, VideoError, CheckpointError, FileError)


@pytest.mark.parametrize('what', ['nan', 'inf', 'integer', 'complex', 'shape', 'text', 'gone'])
def test_weights_that_are_none(files, what):
    with pytest.raises(CheckpointError, match=f'{what}.pth: '):
        make(files, f'{what}.pth')


@pytest.mark.parametrize(
    'options',
    [
        dict(method='nope'), dict(method=3), dict(key_interval=0), dict(key_interval=-1),
        dict(key_interval='x'), dict(key_interval=1.5),
        dict(precision='int8'), dict(panels=('nope',)), dict(method='frame', panels=('flow',)),
        dict(schedule=dict(type='Nope')), dict(schedule=3.5), dict(device='nope'),
    ],
    ids=str,
)  # fmt: skip
def test_options_that_are_impossible(files, options):
    with limits(), pytest.raises(Exception) as error:  # noqa: PT011
        list(make(files, **options)(FRAMES[:2]))
    assert not isinstance(error.value, AttributeError | IndexError | ZeroDivisionError)
    assert str(error.value)


@pytest.mark.parametrize(
    'given',
    [
        None, 3.5, 'gone.mp4', [None], ['gone.mp4'], np.zeros((4, 4)), [np.zeros((4, 4, 3))],
        [np.zeros((4, 4, 5), np.uint8)], [np.zeros((4, 4, 3), np.uint8), None],
    ],
    ids=range(9),
)  # fmt: skip
def test_inputs_that_are_no_video(inferencer, tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    with limits(), pytest.raises(ERRORS) as error:
        list(inferencer(given, out_video='o.mp4', out_json='o.json', out_txt='o.txt'))
    assert str(error.value)
    assert not contents(tmp_path)


@pytest.mark.parametrize(
    'options',
    [
        dict(max_frames=0), dict(max_frames=-1), dict(max_frames='x'), dict(fps=0), dict(fps=-1),
        dict(fps=float('nan')), dict(fps=float('inf')), dict(fps='x'), dict(out_video='o.avi'),
        dict(out_json='a', out_txt='a'), dict(out_json='a', out_txt='./a'), dict(out_video='a.mp4', out_json='a.mp4'),
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_are_impossible(inferencer, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    with limits(), pytest.raises(ERRORS) as error:
        list(inferencer(FRAMES, **options))
    assert str(error.value)
    assert list(contents(tmp_path)) == ['folder']


@pytest.mark.parametrize('name', ['config.py', 'two.pth'])
@pytest.mark.parametrize('output', ['out_json', 'out_txt'])
def test_outputs_that_are_inputs(files, inferencer, name, output):
    before = contents(files)
    with pytest.raises(FileError, match='would overwrite the input'):
        list(inferencer(FRAMES, **{output: str(files / name)}))
    assert contents(files) == before


def boxes(samples) -> list[torch.Tensor]:
    return [sample.pred_instances.bboxes.clone() for sample in samples]


@pytest.mark.parametrize(
    'method', ['copy', 'interpolate', 'propagate', 'coast', 'centered', 'blend']
)
def test_a_changed_result_changes_no_other(files, method):
    inferencer = make(files, method=method)
    expected = boxes(inferencer(FRAMES))
    found = []
    for sample in inferencer(FRAMES):
        found.append(sample.pred_instances.bboxes.clone())
        sample.pred_instances.bboxes.fill_(7)
        sample.pred_instances.scores.zero_()
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))


def test_threads_share_an_inferencer(inferencer):
    """Either the results are right, or an error says that it is in use."""
    expected = boxes(inferencer(FRAMES))
    ends: list = [None] * 4

    def work(number: int) -> None:
        try:
            ends[number] = boxes(inferencer(FRAMES))
        except Exception as error:
            ends[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    with limits():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for end in ends:
        if isinstance(end, Exception):
            assert isinstance(end, RuntimeError) and 'thread' in str(end), repr(end)
        else:
            assert all(torch.equal(*pair) for pair in zip(expected, end, strict=True))


@pytest.mark.parametrize('run', [VideoInferencer.__call__, partial(detect_together)])
def test_abandoned_iterators_leave_nothing(inferencer, tmp_path, run):
    count = threading.active_count()
    for _ in range(5):
        results = run(inferencer, [FRAMES, FRAMES])
        next(iter(results))
        results.close()
    assert threading.active_count() <= count


@pytest.mark.parametrize('given', [None, 3, 'gone.mp4', [None], [[]], ['gone.mp4']])
def test_detect_together_refuses(inferencer, given):
    with pytest.raises(ERRORS):
        list(detect_together(inferencer, given))
