"""Strict loading."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from semidff.checkpoints.read import check_class_order, read_checkpoint, stored_classes
from semidff.checkpoints.safe import CheckpointError
from semidff.checkpoints.strict import load_for_test, load_strict
from tests.tiny.videos import build, detector_cfg, video_detector_cfg


def net(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, width, 1), nn.BatchNorm2d(width))


def equal(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def save(path, state, **more):
    torch.save(dict(state_dict=state, **more), path)
    return path


def named(state, prefix):
    return {f'{prefix}{key}': value for key, value in state.items()}


def other(state):
    return {key: value + 1 for key, value in state.items()}


def test_files_of_mmengine_and_of_other_projects(tmp_path):
    """With the names of wrappers, with averaged copies, and in entries of other names."""
    source = net()
    state = source.state_dict()
    flat = {f'ema_{key.replace(".", "_")}': value for key, value in other(state).items()}
    for content in (
        dict(state_dict=state, meta=dict(iter=3)),
        state,
        named(state, 'module.'),
        named(state, '_orig_mod.module.'),
        dict(model=state, epoch=3),
        dict(state_dict=named(state, 'model.') | {'loss.weight': torch.ones(2)}, epoch=3),
        dict(state_dict=state | flat),
        dict(state_dict=named(other(state), 'ema_model.') | named(state, 'model.')),
        dict(ema_state_dict=other(state) | dict(steps=torch.tensor(7)), state_dict=state),
        dict(model=dict(state_dict=state), optimizer=dict(state={0: dict(step=torch.ones(1))})),
        dict(model=None, ema=state, updates=5),
        dict(net=named(state, 'student_model.')),
    ):
        torch.save(content, tmp_path / 'a.pth')
        target = net()
        load_strict(target, tmp_path / 'a.pth')
        assert equal(target, source)
    twice = named(state, 'student.') | named(other(state), 'teacher.')
    with pytest.raises(CheckpointError, match=r'several times \(student\., teacher\.\)'):
        load_strict(net(), save(tmp_path / 'a.pth', twice))
    classes = np.array(['cat', 'dog'])
    save(tmp_path / 'a.pth', state, meta=dict(dataset_meta=dict(classes=classes)))
    assert stored_classes(read_checkpoint(tmp_path / 'a.pth')[1]) == ('cat', 'dog')


def test_safetensors(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    source, target = net(), net()
    save_file(named(source.state_dict(), 'model.'), tmp_path / 'a.safetensors')
    load_strict(target, tmp_path / 'a.safetensors')
    assert equal(target, source)
    (tmp_path / 'a.safetensors').write_bytes(b'no weights')
    with pytest.raises(CheckpointError, match='a.safetensors: cannot be read'):
        load_strict(target, tmp_path / 'a.safetensors')


def test_classes_in_another_order_are_refused():
    meta = dict(dataset_meta=dict(classes=('cat', 'dog')))
    for classes in (('cat', 'dog'), ('cat', 'hound'), ('cat',), ()):
        check_class_order('a.pth', meta, classes)
    check_class_order('a.pth', {}, ('dog', 'cat'))
    with pytest.raises(CheckpointError, match=r"a.pth: .* order \('cat', 'dog'\), the data has"):
        check_class_order('a.pth', meta, ['dog', 'cat'])


def test_ignored_keys_and_batch_counters_may_be_missing(tmp_path):
    source = net()
    state = source.state_dict()
    del state['1.bias']
    path = save(tmp_path / 'a.pth', {**state, 'teacher_task.x': torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r'1 missing.*1\.bias.*1 not part.*teacher_task\.x'):
        load_strict(net(), path)
    load_strict(net(), path, ignore=('teacher_task.', '1.bias'))
    state = net().state_dict()
    del state['1.num_batches_tracked']
    load_strict(net(), save(path, state))


def test_a_head_that_the_model_does_not_have_is_left_out(tmp_path, log):
    """Such as an auxiliary head of a published checkpoint; a deeper backbone is another model."""
    source, target = net(), net()
    path = save(tmp_path / 'a.pth', {**source.state_dict(), 'aux_head.weight': torch.ones(1)})
    load_strict(target, path)
    assert equal(target, source) and 'aux_head.weight' in log.text
    save(path, {**source.state_dict(), '1.more': torch.ones(1)})
    with pytest.raises(CheckpointError, match='not part of the model: 1.more'):
        load_strict(net(), path)


class Renaming(nn.Module):
    """A module with a name of its first version, as mmdet's FCOSHead, and a buffer that is not
    saved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.register_buffer('mean', torch.arange(3.0), persistent=False)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for part in ('weight', 'bias'):
            if (old := f'{prefix}old_conv.{part}') in state_dict:
                state_dict[f'{prefix}conv.{part}'] = state_dict.pop(old)
        super()._load_from_state_dict(state_dict, prefix, *args)


def test_weights_of_older_versions_are_renamed(tmp_path):
    source, target, path = Renaming(), Renaming(), tmp_path / 'a.pth'
    state = {key.replace('conv', 'old_conv'): value for key, value in source.state_dict().items()}
    load_strict(target, save(path, dict(state, mean=source.mean)))
    assert equal(target, source)
    for changes, message in (
        (dict(mean=source.mean + 1), 'not part of the model: mean'),
        ({'old_conv.bias': torch.zeros(5)}, r'a\.pth.*size mismatch for conv\.bias'),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_strict(target, save(path, state | changes))
    del state['old_conv.bias']
    with pytest.raises(CheckpointError, match=r'1 missing in the checkpoint: conv\.bias'):
        load_strict(target, save(path, state))


def test_errors_name_file_keys_and_remedy_and_load_nothing(tmp_path):
    path = save(tmp_path / 'other.pth', net(5).state_dict())
    target = net()
    before = copy.deepcopy(target)
    with pytest.raises(CheckpointError) as caught:
        load_strict(target, path, 'spatial module')
    text = str(caught.value)
    for part in ('other.pth', 'spatial module', '0.weight (5, 2, 1, 1) instead of (3, 2, 1, 1)'):
        assert part in text
    assert 'and 2 more' in text and 'config' in text
    save(path, net().state_dict() | {'1.bias': torch.full((3,), float('nan'))})
    with pytest.raises(CheckpointError, match=r'1 not finite: 1\.bias'):
        load_strict(target, path)
    assert equal(target, before)


@pytest.fixture(scope='module')
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stages')
    one, two = build(detector_cfg(), seed=1), build(video_detector_cfg(), seed=2)
    extra = {'teacher_task.bbox_head.x': torch.zeros(2)}
    return (
        (one, save(folder / 'one.pth', one.state_dict())),
        (two, save(folder / 'two.pth', {**two.state_dict(), **extra})),
    )


@pytest.mark.parametrize('prefix', ['', '_orig_mod.'])
def test_stage_two_checkpoint(stages, tmp_path, prefix):
    _, (source, path) = stages
    path = save(tmp_path / 'two.pth', named(torch.load(path)['state_dict'], prefix))
    for needs_temporal in (True, False):
        target = build(video_detector_cfg())
        load_for_test(target, path, needs_temporal)
        assert equal(target.spatial.detector, source.spatial.detector)
        assert equal(target.temporal, source.temporal) == needs_temporal
    plain = build(detector_cfg())
    load_for_test(plain, path, needs_temporal=False)
    assert equal(plain.bbox_head, source.spatial.detector.bbox_head)


def test_stage_one_checkpoint_for_box_methods_only(stages):
    (source, path), _ = stages
    target = build(video_detector_cfg())
    load_for_test(target, path, needs_temporal=False)
    assert equal(target.spatial.detector, source)
    with pytest.raises(CheckpointError, match=r'one\.pth.*image detector.*--method track'):
        load_for_test(target, path, needs_temporal=True)


def test_temporal_module_without_weights_needs_none(stages):
    """OpenCV's flow: ``propagate`` takes stage one's weights, and of stage two's the detector's."""
    cfg = video_detector_cfg()
    cfg['temporal'].update(flow_network=dict(type='OpenCVFlow'), with_scale=False)
    for source, path in stages:
        target = build(cfg)
        load_for_test(target, path, needs_temporal=True)
        detector = source.spatial.detector if hasattr(source, 'spatial') else source
        assert equal(target.spatial.detector, detector)
