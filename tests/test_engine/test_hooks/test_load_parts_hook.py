import pytest
import torch

from semidff.checkpoints.safe import CheckpointError
from semidff.engine.hooks import load_parts_hook
from tests.tiny.models import build, rfcn, tiny_semi_dff
from tests.tiny.training import STEPS, config, differing, run, weights

META = dict(dataset_meta=dict(classes=('a', 'b')))
ONE = [dict(STEPS[0], iters=1)]


@pytest.fixture
def stage_one(tmp_path):
    """A detector's checkpoint, of other weights than a run starts with."""
    path = tmp_path / 'stage_one.pth'
    torch.save(dict(state_dict=build(rfcn(), seed=7).state_dict(), meta=META), path)
    return path


def parts(checkpoint, part='spatial.detector', **more):
    return dict(detector=dict(part=part, checkpoint=str(checkpoint), **more))


def test_detector_and_teacher_start_from_stage_one(videos, stage_one, tmp_path):
    run(config(videos, tmp_path / 'run', ONE, load_parts=parts(stage_one)))
    trained, given = weights(tmp_path / 'run' / 'iter_1.pth'), weights(stage_one)
    for key, value in given.items():
        assert torch.equal(trained[f'spatial.detector.{key}'], value)
        if key.startswith(('rpn_head', 'roi_head')):
            assert torch.equal(trained[f'teacher_task.{key}'], value)
    stored = torch.load(tmp_path / 'run' / 'iter_1.pth', weights_only=False)
    assert stored['meta']['dataset_meta']['classes'] == ('a', 'b')


def test_part_of_another_checkpoint(videos, tmp_path):
    path, source = tmp_path / 'other.pth', tiny_semi_dff().state_dict()
    torch.save(dict(state_dict=source, meta=dict()), path)
    steps = [dict(ONE[0], optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)))]
    cfg = config(
        videos, tmp_path / 'run', steps, load_parts=parts(path, 'temporal', prefix='temporal')
    )
    run(cfg)
    trained = weights(tmp_path / 'run' / 'iter_1.pth')
    same = {k for k in source if k not in differing(source, trained)}
    assert {k for k in source if k.startswith('temporal.')} <= same
    assert not any(k in same for k in source if 'rpn_head.rpn_cls' in k)


@pytest.mark.parametrize('part', ['temporal', 'spatial.detector'])
def test_a_random_teacher_is_warned_of(videos, stage_one, tmp_path, part, monkeypatch):
    path, warnings = stage_one, []
    if part == 'temporal':
        path = tmp_path / 'flow.pth'
        torch.save(dict(state_dict=tiny_semi_dff().temporal.state_dict(), meta=dict()), path)
    monkeypatch.setattr(load_parts_hook, 'log_warning', warnings.append)
    run(config(videos, tmp_path / 'run', ONE, load_parts=parts(path, part)))
    assert len(warnings) == (part == 'temporal')
    assert all("part='spatial.detector'" in text for text in warnings)


def test_a_resumed_run_keeps_what_it_learned(videos, stage_one, tmp_path):
    steps = [dict(STEPS[1], iters=1), dict(STEPS[1], name='more', iters=1)]
    settings = dict(load_parts=parts(stage_one))
    run(config(videos, tmp_path / 'run', steps[:1], **settings))
    first = weights(tmp_path / 'run' / 'iter_1.pth')
    stage_one.unlink()
    run(config(videos, tmp_path / 'run', steps, resume=True, **settings))
    second = weights(tmp_path / 'run' / 'iter_2.pth')
    changed = differing(first, second)
    assert changed and not any(key.startswith('teacher_task.') for key in changed)


@pytest.fixture
def stage_two(tmp_path):
    """Checkpoint of a stage two that trained the spatial module: the teacher has other weights."""
    model = tiny_semi_dff()
    model.own_teacher_features()
    state = model.state_dict()
    for name in (k for k, v in state.items() if k.startswith('teacher') and v.is_floating_point()):
        state[name] = state[name] + 0.01
    path = tmp_path / 'stage_two.pth'
    torch.save(dict(state_dict=state, meta=META), path)
    return path


def teacher(path, part='teacher'):
    return {key: value for key, value in weights(path).items() if key.startswith(part)}


@pytest.mark.parametrize('prefix', ['', '_orig_mod.'])
def test_the_teacher_of_a_two_step_checkpoint_stays(videos, stage_two, tmp_path, prefix):
    state = {f'{prefix}{key}': value for key, value in weights(stage_two).items()}
    torch.save(dict(state_dict=state, meta=META), tmp_path / 'given.pth')
    run(config(videos, tmp_path / 'run', ONE, load_from=str(tmp_path / 'given.pth')))
    assert not differing(teacher(tmp_path / 'run' / 'iter_1.pth'), teacher(stage_two))


def test_a_teacher_that_is_not_complete_is_replaced(videos, stage_two, tmp_path):
    state = weights(stage_two)
    del state['teacher_task.rpn_head.rpn_cls.weight']
    torch.save(dict(state_dict=state), stage_two)
    run(config(videos, tmp_path / 'run', ONE, load_from=str(stage_two)))
    result = weights(tmp_path / 'run' / 'iter_1.pth')
    for key in (k for k in result if k.startswith('teacher_task.')):
        own = f'spatial.detector.{key.removeprefix("teacher_task.")}'
        assert torch.equal(result[key], state[own])


def test_a_teacher_without_own_features_has_those_of_the_checkpoint(videos, stage_two, tmp_path):
    state = {k: v for k, v in weights(stage_two).items() if not k.startswith('teacher_features')}
    torch.save(dict(state_dict=state), stage_two)
    steps = [dict(ONE[0], trainable=['temporal', 'feature_network'])]
    run(config(videos, tmp_path / 'run', steps, load_from=str(stage_two)))
    result = tmp_path / 'run' / 'iter_1.pth'
    assert not differing(teacher(result, 'teacher_task'), teacher(stage_two))
    key = 'layer4.1.conv2.weight'
    given = state[f'spatial.detector.backbone.{key}']
    assert torch.equal(weights(result)[f'teacher_features.0.{key}'], given)


def test_the_teacher_of_a_loaded_detector_replaces_it(videos, stage_one, stage_two, tmp_path):
    settings = dict(load_from=str(stage_two), load_parts=parts(stage_one))
    run(config(videos, tmp_path / 'run', ONE, **settings))
    given = weights(stage_one)
    for key, value in teacher(tmp_path / 'run' / 'iter_1.pth', 'teacher_task').items():
        assert torch.equal(value, given[key.removeprefix('teacher_task.')])


def test_more_in_the_checkpoint_if_the_entry_says_so(videos, stage_one, tmp_path):
    state = dict(weights(stage_one), **{'neck.more': torch.ones(3)})
    torch.save(dict(state_dict=state), stage_one)
    with pytest.raises(CheckpointError, match=r'not part of the model: neck\.more'):
        run(config(videos, tmp_path / 'strict', ONE, load_parts=parts(stage_one)))
    run(config(videos, tmp_path / 'run', ONE, load_parts=parts(stage_one, ignore=['neck.more'])))
    trained = weights(tmp_path / 'run' / 'iter_1.pth')
    assert torch.equal(trained['spatial.detector.neck.conv.bias'], state['neck.conv.bias'])


def cut(path, key='spatial.detector.roi_head.bbox_head.conv_cls.weight'):
    """Remove rows of a weight, as of fewer classes."""
    stored = torch.load(path, weights_only=False)
    assert key in stored['state_dict']
    stored['state_dict'][key] = stored['state_dict'][key][:-4]
    torch.save(stored, path)


def test_a_detector_of_another_shape_is_refused(videos, stage_two, stage_one, tmp_path):
    """mmengine would leave its weights out: the random ones would teach."""
    cut(stage_two)
    cfg = config(videos, tmp_path / 'run', ONE, load_from=str(stage_two))
    with pytest.raises(CheckpointError, match=r'of another shape: detector\.'):
        run(cfg)
    run(
        config(videos, tmp_path / 'run', ONE, load_from=str(stage_two), load_parts=parts(stage_one))
    )
