"""An adaptation from end to end: a tiny RetinaNet and short mp4 files."""

import json
import runpy
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import yapf.yapflib.yapf_api as yapf_api
from mmdet.models import ResNet
from mmengine.config import Config

from semidff.adaptation import Plan, PlanError, planner, validation
from semidff.adaptation.config import detector_config
from semidff.adaptation.validation import check_labels
from semidff.adaptation.videos import hold_back
from semidff.apis import VideoInferencer, adapt
from semidff.datasets.video_list import VideoInfo, VideoListError
from semidff.engine.loops.distillation_loop import DistillationStepHook
from semidff.models.spatial import dense_heads
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.error_messages import FileError
from tests import models
from tests.damaged_video import wipe, write_video
from tests.tiny_video import CLASSES, SIZE, build, detector_cfg, frame, test_settings, write_videos

LEAST = dict(regression=3, semantic=3)
VIDEO_DEMO = Path(__file__).resolve().parents[2] / 'tools' / 'video_demo.py'


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A detector's config and checkpoint, and six videos of which one is broken."""
    folder = tmp_path_factory.mktemp('project')
    pipeline = test_settings(folder / 'a.json', folder)['test_dataloader']['dataset']['pipeline']
    dataset = dict(type='CocoDataset', pipeline=pipeline)
    settings = dict(model=detector_cfg(), test_dataloader=dict(dataset=dataset))
    Config(settings).dump(folder / 'detector.py')
    state = build(detector_cfg(), seed=7).state_dict()
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=state, meta=meta), folder / 'one.pth')
    (folder / 'videos').mkdir()
    for number in range(5):
        write_video(folder / 'videos' / f'{number}.mp4', 24, size=SIZE)
    (folder / 'videos' / 'broken.mp4').write_bytes(b'no video')
    return folder


@pytest.fixture(scope='module', autouse=True)
def short():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, '_LEAST', LEAST)
        patch.setattr(planner, 'DOWNSAMPLING', (2,))
        # Formatting the config for each checkpoint would take most of the time.
        patch.setattr(yapf_api, 'FormatCode', lambda text, **options: (text, True))
        patch.setattr(validation, 'SCALES', (1.0,))
        patch.setattr(validation, 'DENSE_SCALES', ())
        patch.setattr(validation, '_LEAST', 40)
        yield


def run(project: Path, out: Path, **options) -> Path:
    settings = dict(videos=[project / 'videos'], checkpoint=project / 'one.pth', minutes=1e-3)
    settings |= dict(anyway=True, device='cpu') | options
    return adapt(str(project / 'detector.py'), out=out, **settings)


@pytest.fixture(scope='module')
def adapted(project, tmp_path_factory, short):
    return run(project, tmp_path_factory.mktemp('adapted') / 'out')


def weights(folder: Path) -> dict:
    return torch.load(folder / 'last.pth', weights_only=True)


def test_plan(project, adapted):
    plan = json.loads((adapted / 'plan.json').read_text())
    assert plan['skipped'] == [str(project / 'videos' / 'broken.mp4')]
    assert len(plan['held_back']) == 1 and len(plan['videos']) == 4
    assert not {*plan['held_back']} & {*plan['videos']}
    assert plan['steps'] == dict(regression=3, semantic=3)
    assert plan['strides'] == [8, 16, 32] and plan['flow_stride'] == 8
    assert (plan['input_size'], plan['crop']) == ([64, 96], None)
    measured = [(one['split'], one['width']) for one in plan['candidates']]
    assert len(measured) == 3 and (plan['split'], plan['width']) in measured
    text = Plan.load(adapted / 'plan.json').text()
    assert 'takes longer than 0.001 minutes' in text and 'None of them reaches' not in text


def test_held_back_frames_can_be_decoded_and_have_objects(project, adapted, tmp_path, monkeypatch):
    plan = Plan.load(adapted / 'plan.json')
    model = VideoInferencer(adapted, device='cpu', show_progress=False).model
    broken = str(wipe(tmp_path / 'wiped.mp4', project / 'videos' / '0.mp4', 0.8))
    own, whole = detector_config(str(project / 'detector.py')), str(project / 'videos' / '1.mp4')
    plan.held_back, plan.portion, plan.skipped = [broken, whole], 0.5, []
    validation.check_clips(plan, own, model)
    assert (plan.held_back, plan.skipped) == ([whole], [broken])
    assert [clip[0] for clip in plan.clips] == [whole]
    monkeypatch.setattr(validation, 'MIN_SCORE', 1.1)
    with pytest.raises(PlanError, match='no object with a score of at least 1.1'):
        validation.check_clips(plan, own, model)


def test_all_frames_of_the_validation_are_checked_before_the_training(project, tmp_path):
    broken = tmp_path / 'broken.mp4'  # not where the held-back frames begin
    wipe(broken, write_video(tmp_path / 'whole.mp4', 600, size=SIZE), 0.93, 0.95)
    with pytest.raises(PlanError, match='or they cannot be decoded'):
        run(project, tmp_path / 'out', videos=[broken], minutes=60, plan_only=True)


def test_input_sizes_at_which_the_detector_fails_are_left_out(
    project, adapted, tmp_path, monkeypatch, log
):
    forward = ResNet.forward

    def with_least_size(self, x):
        if x.shape[-1] < 96:
            raise RuntimeError('kernel size is greater than input')
        return forward(self, x)

    monkeypatch.setattr(validation, 'SCALES', (1.0, 0.5))
    monkeypatch.setattr(validation, 'DENSE_SCALES', (0.35,))
    plan, found = Plan.load(adapted / 'plan.json'), VideoInferencer(adapted, device='cpu')
    own = detector_config(str(project / 'detector.py'))
    validation.check_clips(plan, own, found.model)
    assert plan.scales == [1, 0.5, 0.35]
    monkeypatch.setattr(ResNet, 'forward', with_least_size)
    plan = Plan.load(run(project, tmp_path / 'out', plan_only=True) / 'plan.json')
    assert plan.scales == [1] and 'Input sizes of the validation: × 1\n' in plan.text() + '\n'
    assert 'input size × 0.5 is left out' in log.text and 'greater than input' in log.text
    (tmp_path / 'out' / 'validation').mkdir()
    shutil.copy(adapted / 'adaptive.json', tmp_path / 'out' / 'validation')
    validation.validate(plan, found.model, found.model, tmp_path / 'out')
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert {point['scale'] for point in report['points']} == {1}
    assert 'adaptive' in {point['method'] for point in report['points']}


def test_outputs_are_corrected(project, tmp_path, monkeypatch):
    def outputs(candidates, *_):
        return next(one for one in candidates if one.split == 'OutputSplit')

    monkeypatch.setattr(planner, '_best', outputs)
    out = run(project, tmp_path / 'out')
    plan = Plan.load(out / 'plan.json')
    assert (plan.split, plan.correction_width) == ('OutputSplit', 64)
    key = f'temporal.correction.blocks.{plan.channels[0]}.2.weight'
    assert weights(out)['state_dict'][key].any()


def test_labeled_videos_are_not_trained_on(project, tmp_path):
    labels = write_videos(tmp_path, (3,))
    config, videos = detector_config(str(project / 'detector.py')), [str(tmp_path)]
    check_labels(labels, config, str(project / 'one.pth'), [str(project / 'videos' / '0.mp4')])
    with pytest.raises(FileError, match='1 of the labeled videos would be trained on, '):
        check_labels(labels, config, str(project / 'one.pth'), videos)


def test_the_seed_is_that_of_the_plan(project, tmp_path):
    run(project, tmp_path / 'out', plan_only=True, seed=7)
    assert Plan.load(tmp_path / 'out' / 'plan.json').seed == 7


def test_hold_back():
    def held(*lengths):
        videos = [VideoInfo(str(n), '', length, 48, 64) for n, length in enumerate(lengths)]
        trained, held_back, portion = hold_back(videos)
        assert portion < 1 or not {*trained} & {*held_back}
        return [video.length for video in held_back], portion

    assert held(1000, 50, 2) == ([1000], 0.85)  # the ends of the others are too short
    assert held(90, 20) == ([90], 0.85)
    assert held(*[200] * 9) == ([200] * 9, 0.85)  # none of few scenes is left out
    assert held(*[20] * 5) == ([20], 1)  # too short for ends
    assert held(*[50, 3] * 10) == ([50] * 3, 1)
    # three videos of 250 would be most of the frames
    assert sum(held(*[30] * 8, 250, 250, 250, *[30] * 8)[0]) <= 0.3 * 1230


def test_the_folder_is_a_video_detector(project, adapted, monkeypatch, tmp_path):
    stored = weights(adapted)
    assert stored['meta']['dataset_meta']['classes'] == CLASSES
    assert not any(key.startswith('teacher') for key in stored['state_dict'])
    recommended = json.loads((adapted / 'report.json').read_text())['recommended']
    inferencer = VideoInferencer(adapted, device='cpu', show_progress=False)
    assert inferencer.method == recommended['method'].replace('adaptive', 'propagate')
    assert len(list(inferencer([frame(0, 0)] * 2))) == 2
    assert (adapted / 'video.mp4').stat().st_size and (adapted / 'report.png').stat().st_size
    options = ('--out', tmp_path / 'boxes.mp4', '--max-frames', 3, '--method', 'propagate')
    argv = ['video_demo.py', project / 'videos' / '0.mp4', adapted, *options]
    monkeypatch.setattr(sys, 'argv', [str(one) for one in argv])
    runpy.run_path(str(VIDEO_DEMO), run_name='__main__')
    assert (tmp_path / 'boxes.mp4').stat().st_size


def test_methods_without_training_run_the_given_detector(project, adapted, tmp_path):
    given, kept = (
        torch.load(f)['state_dict'] for f in (project / 'one.pth', adapted / 'detector.pth')
    )
    assert given.keys() == kept.keys() and all(torch.equal(given[key], kept[key]) for key in given)
    folder = tmp_path / 'adapted'
    shutil.copytree(adapted, folder)
    trained, key = weights(folder), 'bbox_head.retina_cls.weight'  # at some split points it learns
    trained['state_dict'][f'spatial.detector.{key}'] += 1
    torch.save(trained, folder / 'last.pth')
    for method, expected in (
        ('coast', given[key]),
        ('propagate', trained['state_dict'][f'spatial.detector.{key}']),
    ):
        inferencer = VideoInferencer(folder, device='cpu', method=method, show_progress=False)
        assert torch.equal(inferencer.model.spatial.detector.bbox_head.retina_cls.weight, expected)
    assert f'VideoInferencer({str(adapted)!r})' in (adapted / 'report.md').read_text()


@pytest.mark.parametrize('gone', [False, True])
def test_without_readable_training_videos_there_are_no_adaptive_key_frames(
    project, adapted, tmp_path, gone
):
    out = tmp_path / 'out'
    shutil.copytree(adapted, out)
    (out / 'progress.json').unlink()
    plan = Plan.load(out / 'plan.json')
    wiped = wipe(tmp_path / 'wiped.mp4', project / 'videos' / '0.mp4', 0.3)
    plan.videos = [str(tmp_path / 'gone.mp4' if gone else wiped)]
    sys.modules['semidff.apis.adapt']._finish(plan, out, 'cpu', None)
    assert not (out / 'adaptive.json').exists()
    assert 'Adaptive key frames could not be fitted' in (out / 'report.md').read_text()
    methods = {p['method'] for p in json.loads((out / 'report.json').read_text())['points']}
    assert methods == {'frame', 'coast', 'interpolate', 'propagate', 'centered', 'blend'}


def test_validation_covers_the_whole_list_of_videos(project, adapted, monkeypatch):
    monkeypatch.setattr(validation, '_LEAST', 80)  # two clips
    plan = Plan.load(adapted / 'plan.json')
    plan.held_back = [str(project / 'videos' / f'{number}.mp4') for number in range(3)]
    clips = validation.choose_clips(plan)
    assert [Path(clip[0]).stem for clip in clips] == ['0', '2']


def test_the_recommended_schedule_stays_until_there_is_another(
    project, adapted, tmp_path, monkeypatch
):
    module, out = sys.modules['semidff.apis.adapt'], tmp_path / 'out'
    shutil.copytree(adapted, out)
    (out / 'adaptive.json').write_text('before')
    (out / 'progress.json').unlink()
    plan = Plan.load(out / 'plan.json')

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, 'validate', stop)
        with pytest.raises(KeyboardInterrupt):
            module._finish(plan, out, 'cpu', None)
    assert (out / 'adaptive.json').read_text() == 'before'
    module._finish(plan, out, 'cpu', None)
    fitted = (out / 'validation' / 'adaptive.json').read_text()
    assert (out / 'adaptive.json').read_text() == fitted != 'before'


def test_stages_are_run_again_if_labels_change_or_results_are_gone(adapted, tmp_path, monkeypatch):
    module, runs = sys.modules['semidff.apis.adapt'], []
    for name in ('_fit', '_validate', '_render'):
        monkeypatch.setattr(module, name, lambda *args, name=name: runs.append((name, args[3])))
    out = shutil.copytree(adapted, tmp_path / 'out')
    plan, labels = Plan.load(out / 'plan.json'), tmp_path / 'a.json'
    labels.write_text('{}')

    def finish(given):
        runs.clear()
        module._finish(plan, out, 'cpu', given)
        return [name for name, _ in runs]

    assert finish(None) == []
    assert finish(str(labels)) == ['_validate', '_render'] and finish(str(labels)) == []
    labels.write_text('{"images": []}')
    assert finish(str(labels)) == ['_validate', '_render']
    assert {given for _, given in runs} == {str(labels)}
    (out / 'report.md').unlink()
    assert finish(str(labels)) == ['_validate']
    (out / 'progress.json').write_text('{"adapt')
    assert finish(None) == ['_fit', '_validate', '_render']


@pytest.mark.parametrize('text', [None, 'model = dict('])
def test_a_lost_or_damaged_config_is_made_again(project, adapted, tmp_path, text):
    out = shutil.copytree(adapted, tmp_path / 'out')
    (out / 'config.py').unlink() if text is None else (out / 'config.py').write_text(text)
    run(project, out)
    assert len(list(VideoInferencer(out, device='cpu')([frame(0, 0)] * 2))) == 2


def test_a_gpu_is_used_until_the_adaptation_ends(monkeypatch):
    module, chosen = sys.modules['semidff.apis.adapt'], []
    monkeypatch.setattr(torch.cuda, 'device', lambda index: nullcontext(chosen.append(index)))
    monkeypatch.setattr(module.mmengine_device, 'DEVICE', 'npu')
    for device in ('cuda', 'cuda:1', 'cpu'):
        with pytest.raises(KeyError), module._training_device(device) as used:
            assert (used, module.mmengine_device.DEVICE) == (device, torch.device(device).type)
            raise KeyError
        assert module.mmengine_device.DEVICE == 'npu'
    assert chosen == [0, 1]


def test_clips_end_with_a_key_frame(project, adapted, tmp_path):
    plan = Plan.load(adapted / 'plan.json')
    lengths = {30: 30, 55: 41, 400: 301}
    for length, expected in lengths.items():
        write_video(tmp_path / f'{length}.mp4', length, size=SIZE)
        plan.held_back, plan.portion, plan.minutes = [tmp_path / f'{length}.mp4'], 1, 60
        (clip,) = validation.choose_clips(plan)
        assert clip[1:] == [0, expected]
    plan.key_interval = 15  # and 60 = lcm(20, 15)
    (clip,) = validation.choose_clips(plan)
    assert clip[2] == 301
    plan.held_back = [write_video(tmp_path / '130.mp4', 130, size=SIZE)]
    (clip,) = validation.choose_clips(plan)
    assert clip[2] == 121


def test_looking_at_plans_changes_nothing_that_is_trained(project, adapted, tmp_path):
    out, file = tmp_path / 'out', tmp_path / 'out' / 'plan.json'
    look = dict(plan_only=True, minutes=None)
    assert Plan.load(run(project, out, **look) / 'plan.json').minutes == 60
    run(project, out, **look | dict(minutes=60))
    assert Plan.load(file).minutes == 60
    run(project, out, **look | dict(minutes=1e-3, key_interval=5))
    plan = Plan.load(file)
    assert (plan.minutes, plan.key_interval, len(plan.steps)) == (1e-3, 5, 2)
    run(project, out, **look | dict(key_interval=7))
    assert (Plan.load(file).minutes, Plan.load(file).key_interval) == (1e-3, 7)
    further = write_video(tmp_path / 'further.mp4', 24, size=SIZE)
    more = dict(videos=[project / 'videos', further])
    run(project, out, **look | more)
    assert str(further) in Plan.load(file).named
    run(project, out, **look)
    assert str(further) not in Plan.load(file).named
    shutil.copytree(adapted, tmp_path / 'done')
    before = (tmp_path / 'done' / 'plan.json').read_text()
    run(project, tmp_path / 'done', **look)
    run(project, tmp_path / 'done', **look | more)
    assert (tmp_path / 'done' / 'plan.json').read_text() == before
    for name in ('minutes', 'key_interval', 'seed'):
        with pytest.raises(PlanError, match=f'but {name} differs; give the same, or another --out'):
            run(project, tmp_path / 'done', **look | {name: 5})
    shutil.rmtree(tmp_path / 'done' / 'training')
    (tmp_path / 'done' / 'detector.pth').unlink()
    run(project, tmp_path / 'done', minutes=None)  # finished, but for a file
    assert (tmp_path / 'done' / 'detector.pth').is_file()
    assert (tmp_path / 'done' / 'plan.json').read_text() == before


def test_a_changed_config_is_another_detector(project, tmp_path):
    own, out = shutil.copytree(project, tmp_path / 'own'), tmp_path / 'out'
    config, look = Config.fromfile(own / 'detector.py'), dict(plan_only=True)
    before = Plan.load(run(own, out, **look) / 'plan.json')
    (out / 'detector.pth').write_bytes(b'of the former detector')
    config.model.test_cfg.score_thr = 0.2
    config.dump(own / 'detector.py')
    after = Plan.load(run(own, out, **look) / 'plan.json')
    assert after.config_digest != before.config_digest and not (out / 'detector.pth').exists()
    (out / 'last.pth').touch()  # of a training
    config.model.test_cfg.score_thr = 0.1
    config.dump(own / 'detector.py')
    with pytest.raises(PlanError, match='detector differs; give the same, or another --out'):
        run(own, out, **look)


def test_an_interrupted_training_continues_with_the_same_result(project, adapted, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    shutil.copy(adapted / 'plan.json', out)
    moved = shutil.copy(project / 'one.pth', tmp_path / 'moved.pth')
    after = DistillationStepHook.after_train_iter

    def interrupt(hook, runner, *args, **kwargs):
        after(hook, runner, *args, **kwargs)
        if runner.iter == 4:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DistillationStepHook, 'after_train_iter', interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(project, out, checkpoint=moved)
    assert Plan.load(out / 'plan.json').checkpoint == str(moved)
    moved.unlink()
    (out / 'detector.pth').unlink()
    module = sys.modules['semidff.apis.adapt']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, '_finish', lambda *args: None)
        run(project, out)
        expected, found = weights(adapted)['state_dict'], weights(out)['state_dict']
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
        time = (out / 'last.pth').stat().st_mtime_ns
        run(project, out)
        assert (out / 'last.pth').stat().st_mtime_ns == time  # nothing to do
        with pytest.warns(UserWarning, match='recommends no operating point'):
            VideoInferencer(out, device='cpu')


def test_unknown_heads_learn_with_the_regression_loss(project, tmp_path, monkeypatch):
    monkeypatch.delitem(dense_heads.OUTPUTS, 'RetinaHead')
    plan = json.loads((run(project, tmp_path, plan_only=True) / 'plan.json').read_text())
    assert not plan['semantic'] and 'RetinaHead' in plan['reason']
    assert [*plan['steps']] == ['regression']


def test_networks_of_segmentation_are_refused(project, tmp_path):
    pytest.importorskip('mmseg', reason='needs the extra segmentation')
    steps = [dict(type='LoadImageFromFile'), dict(type='mmseg.PackSegInputs')]
    settings = dict(model=models.segmentor(), test_dataloader=dict(dataset=dict(pipeline=steps)))
    imports = dict(imports=['semidff.utils.mmseg_extra'])
    Config(dict(settings, custom_imports=imports)).dump(tmp_path / 'seg.py')
    own = models.build(dict(type='VideoDetector', detector=models.segmentor())).spatial.detector
    torch.save(dict(state_dict=own.state_dict()), tmp_path / 'seg.pth')
    with pytest.raises(PlanError, match=r'seg.py: predicts label maps; only detectors'):
        adapt(
            str(tmp_path / 'seg.py'),
            tmp_path / 'seg.pth',
            [project / 'videos'],
            out=tmp_path / 'out',
            minutes=1e-3,
            device='cpu',
        )


def test_refusals(project, adapted, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    write_video(tmp_path / 'short.mp4', 10, size=SIZE)
    with pytest.raises(VideoListError, match='10 frames in all; at least 100'):
        run(project, out, videos=[tmp_path / 'short.mp4'])
    with pytest.raises(VideoListError, match='none of its 1 entries'):
        run(project, out, videos=[project / 'videos' / 'broken.mp4'])
    with pytest.raises(PlanError, match='fps is 0'):
        run(project, out, fps=0)
    (tmp_path / 'labeled').mkdir()
    labels = shutil.copy(write_videos(tmp_path / 'labeled', (2,)), tmp_path / 'moved.json')
    with pytest.raises(FileError, match='2 of its images are missing'):
        run(project, out, labels=labels)
    content = json.loads(Path(labels).read_text())
    empty = tmp_path / 'labeled' / 'empty.json'
    empty.write_text(json.dumps(dict(content, annotations=[])))
    with pytest.raises(ValueError, match='empty.json: has no box'):
        run(project, out, labels=empty)
    with pytest.raises(VideoListError, match='no such file'):
        run(project, out, videos=[project / 'none.mp4'])
    torch.save(dict(state_dict=dict(other=torch.zeros(2))), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='does not fit'):
        run(project, out, checkpoint=tmp_path / 'other.pth')
    with pytest.raises(PlanError, match='is the adaptation of'):
        run(project, adapted, checkpoint=tmp_path / 'other.pth')
    usage = shutil.disk_usage('.')._replace(free=1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(FileError, match='GB of disk space, 0.00 GB are free'):
        run(project, out)
    assert not (out / 'plan.json').exists()
