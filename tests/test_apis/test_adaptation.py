"""An adaptation from end to end: a tiny RetinaNet and short mp4 files."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import yapf.yapflib.yapf_api as yapf_api
from mmdet.models import ResNet
from mmengine.config import Config

from semidff.adaptation import Plan, PlanError, plan, planner, student, survey, validation
from semidff.adaptation.config import detector_config
from semidff.adaptation.validation import check_labels
from semidff.apis import VideoInferencer, adapt
from semidff.datasets.video_list import VideoListError
from semidff.datasets.video_readers import open_any
from semidff.engine.loops.distillation_loop import DistillationStepHook
from semidff.models import SemiDFF
from semidff.models.spatial import dense_heads
from semidff.utils.checkpoint import CheckpointError
from semidff.utils.error_messages import FileError
from tests.damaged_video import wipe, write_video
from tests.detectors.stock_detectors import read_stock
from tests.processes import call
from tests.tiny import models
from tests.tiny.videos import CLASSES, SIZE, build, frame, write_detector, write_videos

LEAST = dict(regression=3, semantic=3)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A detector's config and checkpoint, and six videos of which one is broken."""
    folder = tmp_path_factory.mktemp('project')
    write_detector(folder)
    (folder / 'videos').mkdir()
    for number in range(5):
        write_video(folder / 'videos' / f'{number}.mp4', 24, size=SIZE)
    (folder / 'videos' / 'broken.mp4').write_bytes(b'no video')
    return folder


@pytest.fixture(scope='module', autouse=True)
def short():
    with pytest.MonkeyPatch.context() as patch:
        for name, least in LEAST.items():
            patch.setitem(plan.LEAST, name, least)
        patch.setattr(planner, 'DOWNSAMPLING', (2,))
        patch.setattr(planner, '_CLIP', 2)
        patch.setattr(
            yapf_api, 'FormatCode', lambda text, **options: (text, True)
        )  # of ``adapted``
        patch.setattr(validation, 'SCALES', (1.0,))
        patch.setattr(validation, 'DENSE_SCALES', ())
        patch.setattr(validation, 'INTERVALS', (2, 5))
        patch.setattr(validation, 'LIGHT_EVERY', (1, 2))
        patch.setattr(survey, '_LEAST', 40)
        patch.setattr(survey, '_MOST', 40)
        yield


def run(project: Path, out: Path, **options) -> Path:
    settings = dict(videos=[project / 'videos'], checkpoint=project / 'one.pth', minutes=1e-3)
    settings |= dict(anyway=True, device='cpu', runtime='torch') | options
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
    plan = Plan.load(adapted / 'plan.json')
    text = plan.text()
    assert 'takes longer than 0.001 minutes' in text and 'None of them reaches' not in text
    assert re.search(r'regression: 3 iterations, about \d+ seconds\n', text)


def test_a_training_can_pay_or_not(adapted):
    """With *track* at l = 20, 4 ms a frame; three of its 20 frames, propagated, add 0.15 times their time."""
    kept = Plan.load(adapted / 'plan.json')
    tracked = {'5': 10.0, '20': 4.0}
    for milliseconds, non_key, fps, enough, pays, words in (
        (10, 36, None, True, False, 'one every 5 would take 9.4 ms: 1.1 times as fast, less'),
        (10, 2, None, True, True, 'one every 5 would take 4.3 ms: 2.3 times as fast'),
        (10, 2, 50, True, False, '10.0 ms a frame without training, which is enough'),
        (10, 20, 200, False, True, 'no method without it reaches 200 frames per second'),
    ):
        chosen = replace(kept.networks.chosen, non_key=non_key)
        untrained = dict(name='track', milliseconds=milliseconds, tracked=tracked, enough=enough)
        networks = replace(kept.networks, candidates=[chosen])
        other = replace(kept, networks=networks, untrained=untrained, fps=fps)
        assert other.gain()[0] == pays and words in other.gain()[1]
        assert other.gain()[1] in other.text()


@pytest.fixture
def reading(monkeypatch):
    """Sets the milliseconds of reading a frame; a key frame takes 10 and a non-key frame 2."""

    def reading(milliseconds: float) -> None:
        def times(clips, pack, model, **options):
            return (10.0, 2.0), milliseconds, 1

        monkeypatch.setattr(planner, '_time_clips', times)

    return reading


def test_nothing_is_trained_where_it_cannot_pay(project, tmp_path, reading, capsys):
    reading(12.0)
    out = tmp_path / 'out'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, 'LEAST_SPEEDUP', 1e9)
        run(project, out, anyway=False)
    text = Plan.load(out / 'plan.json').text()
    assert 'Decoding or resizing, 12.0 ms a frame, limits the speed' in text
    assert 'Training cannot pay: ' in capsys.readouterr().out
    assert not (out / 'last.pth').exists() and (out / 'video.mp4').stat().st_size
    inferencer = VideoInferencer(out, device='cpu', show_progress=False)
    assert not inferencer.model.has_temporal and len(list(inferencer([frame(0, 0)] * 2))) == 2


def test_without_training(project, tmp_path, capsys, monkeypatch):
    for limit in ('_LEAST', '_MOST'):
        monkeypatch.setattr(survey, limit, 205)
    out = run(project, tmp_path / 'out', no_training=True)
    report = json.loads((out / 'report.json').read_text())
    # all videos are measured
    assert report['settings']['clips'] == 5 and not (out / 'plan.json').exists()
    methods = {one['method'] for one in report['points']}
    assert methods == {'frame', 'track', 'interpolate', 'copy'}
    inferencer = VideoInferencer(out, device='cpu', show_progress=False)
    recommended = report['recommended']
    assert inferencer.method == recommended['method']
    assert f'The folder runs {inferencer.description}:' in capsys.readouterr().out
    text = (out / 'report.md').read_text().splitlines()
    assert text[2] == f'This folder runs {inferencer.description}:'
    before = {name: (out / name).stat().st_mtime_ns for name in ('report.json', 'video.mp4')}
    run(project, out, no_training=True)
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}
    call('video_demo.py', project / 'videos' / '0.mp4', out, '--max-frames', 3)
    assert f'{out} runs {inferencer.description}' in capsys.readouterr().out


@pytest.mark.parametrize('better', [True, False])
def test_the_detector_is_trained_first(project, tmp_path, monkeypatch, better):
    monkeypatch.setattr(student, '_LEAST', 2)
    monkeypatch.setattr(student, '_LABELED', (40, 40))
    judge = student.judge
    monkeypatch.setattr(student, 'judge', lambda *given: (better, judge(*given)[1]))
    teach = partial(run, project, tmp_path / 'out', adapt_detector=True, no_training=True)
    out = teach()
    read = lambda file: torch.load(file)['state_dict']  # noqa: E731
    before, after = read(project / 'one.pth'), read(out / 'student' / 'detector.pth')
    weight = 'bbox_head.retina_cls.weight'
    assert not torch.equal(before[weight], after[weight])
    assert torch.equal(read(out / 'detector.pth')[weight], (after if better else before)[weight])
    text = (out / 'report.md').read_text()
    assert ("agreement with the teacher's boxes" in text) == better
    assert '## The trained detector' in text and 'on 24 held-back frames' in text
    points = json.loads((out / 'report.json').read_text())['points']
    own = [one for one in points if one['method'] == 'frame' and one['filter'] == 'both']
    assert (own[0]['metrics']['AP'] == 1) != better
    files = [out / name for name in ('student/result.json', 'student/training/last.pth')]
    known = [file.stat().st_mtime_ns for file in (*files, out / 'survey.json')]
    teach()
    assert known == [file.stat().st_mtime_ns for file in (*files, out / 'survey.json')]
    with pytest.raises(PlanError, match='trained with other arguments'):
        teach(also=project / 'detector.py')


@pytest.mark.parametrize(
    'name', ['detr/detr_r50_8xb2-150e_coco', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco']
)
def test_detectors_with_an_encoder_are_cut_behind_it(project, tmp_path, monkeypatch, reading, name):
    def chosen(candidates, fps):
        raise PlanError(f'{candidates[0].split} of {[one.split for one in candidates]}')

    reading(1.0)
    monkeypatch.setattr(planner, 'best_candidate', chosen)
    monkeypatch.setattr(validation, 'MIN_SCORE', 0.0)
    measure = partial(survey.measure_operating_points, min_score=0.0)
    monkeypatch.setattr(survey, 'measure_operating_points', measure)
    config, model = Config.fromfile(project / 'detector.py'), read_stock(name).model
    model.backbone.update(depth=18, base_channels=8, init_cfg=None)
    if 'panoptic_head' in model:
        head = model.panoptic_head
        head.in_channels = [8, 16, 32, 64]
        head.pixel_decoder.encoder.num_layers = head.transformer_decoder.num_layers = 1
        model.test_cfg.update(instance_on=True, panoptic_on=False)
    else:
        model.neck.in_channels = [64]
        model.encoder.num_layers = model.decoder.num_layers = 1
    config.model = model
    config.dump(tmp_path / 'detector.py')
    torch.save(dict(state_dict=build(model).state_dict()), tmp_path / 'one.pth')
    (tmp_path / 'videos').symlink_to(project / 'videos')
    with pytest.raises(PlanError, match=r"^EncoderSplit of \['EncoderSplit', 'ExtractFeatSplit'\]"):
        run(tmp_path, tmp_path / 'out', plan_only=True)


def test_held_back_frames_can_be_decoded_and_have_objects(project, adapted, tmp_path, monkeypatch):
    model = VideoInferencer(adapted, device='cpu', method='frame', show_progress=False).model
    broken = str(wipe(tmp_path / 'wiped.mp4', project / 'videos' / '0.mp4', 0.8))
    own, whole = detector_config(str(project / 'detector.py')), str(project / 'videos' / '1.mp4')
    check = partial(validation.check_clips, own, model, [broken, whole], 0.5, 40)
    held_back, clips, _ = check()
    assert held_back == [clip.path for clip in clips] == [whole]
    monkeypatch.setattr(validation, 'MIN_SCORE', 1.1)
    with pytest.raises(PlanError, match='no object with a score of at least 1.1'):
        check()


def test_held_back_videos_that_cannot_be_decoded_are_skipped(
    project, tmp_path, monkeypatch, reading
):
    reading(1.0)
    broken = wipe(tmp_path / 'wiped.mp4', project / 'videos' / '0.mp4', 0.8)
    monkeypatch.setattr(survey, 'hold_back', lambda videos: (videos[2:], videos[:2], 0.5))
    videos = [broken, project / 'videos']
    plan = Plan.load(run(project, tmp_path / 'out', videos=videos, plan_only=True) / 'plan.json')
    assert plan.videos.held_back == [str(project / 'videos' / '0.mp4')]
    assert plan.videos.skipped == [str(broken), str(project / 'videos' / 'broken.mp4')]
    assert '4 for training, 1 for validation (the last 50% of each), 2 skipped' in plan.text()


def test_input_sizes_at_which_the_detector_fails_are_left_out(project, tmp_path, monkeypatch, log):
    forward = ResNet.forward

    def with_least_size(self, x):
        if x.shape[-1] < 96:
            raise RuntimeError('kernel size is greater than input')
        return forward(self, x)

    monkeypatch.setattr(validation, 'SCALES', (1.0, 0.5))
    monkeypatch.setattr(validation, 'DENSE_SCALES', (0.35,))
    monkeypatch.setattr(ResNet, 'forward', with_least_size)
    plan = Plan.load(run(project, tmp_path / 'out', plan_only=True) / 'plan.json')
    assert (
        plan.videos.scales == [1] and 'Input sizes of the validation: × 1\n' in plan.text() + '\n'
    )
    assert 'input size × 0.5 is left out' in log.text and 'greater than input' in log.text


def test_outputs_are_corrected(project, tmp_path, monkeypatch):
    def outputs(candidates, *_):
        return next(one for one in candidates if one.split == 'OutputSplit')

    monkeypatch.setattr(planner, 'best_candidate', outputs)
    out = run(project, tmp_path / 'out')
    chosen = Plan.load(out / 'plan.json').networks
    assert (chosen.split, chosen.correction_width, chosen.current_width) == ('OutputSplit', 64, 64)
    (key,) = (
        key
        for key in weights(out)['state_dict']
        if re.fullmatch(r'temporal\.correction\.blocks\.\d+\.2\.weight', key)
    )
    assert weights(out)['state_dict'][key].any()
    others = Config.fromfile(out / 'config.py').model.temporal
    assert others.shared_classes and others.gated and not others.with_scale


def test_labeled_videos_are_not_trained_on(project, tmp_path):
    labels = write_videos(tmp_path, (3,))
    config, videos = detector_config(str(project / 'detector.py')), [str(tmp_path)]
    check_labels(labels, config, str(project / 'one.pth'), [str(project / 'videos' / '0.mp4')])
    with pytest.raises(FileError, match='1 of the labeled videos would be trained on, '):
        check_labels(labels, config, str(project / 'one.pth'), videos)
    single = write_videos(tmp_path, (1, 1))
    with pytest.raises(ValueError, match='each of its videos is a single frame'):
        check_labels(single, config, str(project / 'one.pth'), [])


def test_the_folder_is_a_video_detector(project, adapted, tmp_path):
    stored = weights(adapted)
    assert stored['meta']['dataset_meta']['classes'] == CLASSES
    assert not any(key.startswith('teacher') for key in stored['state_dict'])
    recommended = json.loads((adapted / 'report.json').read_text())['recommended']
    inferencer = VideoInferencer(adapted, device='cpu', show_progress=False)
    assert inferencer.method == recommended['method'].replace('adaptive', 'propagate')
    assert len(list(inferencer([frame(0, 0)] * 2))) == 2
    assert (adapted / 'video.mp4').stat().st_size and (adapted / 'report.png').stat().st_size
    options = ('--out', tmp_path / 'boxes.mp4', '--max-frames', 3, '--method', 'propagate')
    call('video_demo.py', project / 'videos' / '0.mp4', adapted, *options)
    assert (tmp_path / 'boxes.mp4').stat().st_size


def test_methods_without_training_run_the_given_detector_and_a_filter_is_recommended(
    project, adapted, tmp_path
):
    given, kept = (
        torch.load(f)['state_dict'] for f in (project / 'one.pth', adapted / 'detector.pth')
    )
    assert given.keys() == kept.keys() and all(torch.equal(given[key], kept[key]) for key in given)
    folder = tmp_path / 'adapted'
    shutil.copytree(adapted, folder)
    trained, key = weights(folder), 'bbox_head.retina_cls.weight'  # at some split points it learns
    trained['state_dict'][f'spatial.detector.{key}'] += 1
    torch.save(trained, folder / 'last.pth')
    config = Config.fromfile(folder / 'config.py')
    config.recommended.update(method='propagate', filter='causal', light_every=5)
    config.dump(folder / 'config.py')
    point = VideoInferencer(folder, device='cpu').point
    assert (point.filter, point.light_every) == ('causal', 5)
    for method, expected in (
        ('track', given[key]),
        ('propagate', trained['state_dict'][f'spatial.detector.{key}']),
    ):
        inferencer = VideoInferencer(folder, device='cpu', method=method, show_progress=False)
        assert torch.equal(inferencer.model.spatial.detector.bbox_head.retina_cls.weight, expected)
    assert f'VideoInferencer({str(adapted)!r})' in (adapted / 'report.md').read_text()


def test_plan_on_a_gpu(project, tmp_path, monkeypatch, gpu):
    """Backward passes are not simulated."""
    time_iterations = planner._time_iterations
    on_cpu = lambda plan, config, device: time_iterations(plan, config, 'cpu')  # noqa: E731
    monkeypatch.setattr(planner, '_time_iterations', on_cpu)
    monkeypatch.setattr(SemiDFF, '_without_gradient', lambda self: [])
    plan = Plan.load(run(project, tmp_path / 'out', device='cuda', plan_only=True) / 'plan.json')
    assert plan.device == 'cuda' and plan.networks.semantic
    assert len(plan.networks.candidates) == 3
    assert gpu.captures >= 2 and not gpu.failed_captures


def test_from_training_to_report_on_a_gpu(project, adapted, tmp_path, gpu):
    out = shutil.copytree(adapted, tmp_path / 'out')
    (out / 'stages.json').unlink()
    before = times(out)
    run(project, out, device='cuda')
    assert gpu.captures >= 4 and not gpu.failed_captures
    changed = {name for name, time in times(out).items() if time != before[name]}
    assert changed == {'config.py', 'report.json', 'report.md', 'video.mp4'}
    reports = (json.loads((folder / 'report.json').read_text()) for folder in (out, adapted))
    points = ({tuple(p.values())[:5]: p['metrics'] for p in report['points']} for report in reports)
    found, expected = points
    assert found.keys() == expected.keys()
    for point, metrics in expected.items():
        if point[0] != 'adaptive':  # fitted anew
            assert found[point] == pytest.approx(metrics, abs=1e-2)


def test_without_readable_training_videos_there_are_no_adaptive_key_frames(
    project, adapted, tmp_path
):
    out = shutil.copytree(adapted, tmp_path / 'out')
    (out / 'stages.json').unlink()
    plan = Plan.load(out / 'plan.json')
    wiped = str(wipe(tmp_path / 'wiped.mp4', project / 'videos' / '0.mp4', 0.3))
    replace(plan, videos=replace(plan.videos, videos=[wiped])).save(out / 'plan.json')
    run(project, out)
    assert not (out / 'adaptive.json').exists()
    assert 'Adaptive key frames could not be fitted' in (out / 'report.md').read_text()
    methods = {p['method'] for p in json.loads((out / 'report.json').read_text())['points']}
    others = {'track', 'interpolate', 'propagate', 'centered', 'blend'}
    assert methods == {'frame', 'copy', *others}


def test_the_recommended_schedule_stays_until_there_is_another(project, adapted, tmp_path):
    out = shutil.copytree(adapted, tmp_path / 'out')
    (out / 'adaptive.json').write_text('before')
    (out / 'stages.json').unlink()

    def stop(*args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('semidff.apis.adaptation.validate', stop)
        with pytest.raises(KeyboardInterrupt):
            run(project, out)
    assert (out / 'adaptive.json').read_text() == 'before'
    run(project, out)
    fitted = (out / 'validation' / 'adaptive.json').read_text()
    assert (out / 'adaptive.json').read_text() == fitted != 'before'


def times(out: Path) -> dict[str, int]:
    """Time of change of each result."""
    names = ('config.py', 'last.pth', 'detector.pth', 'report.json', 'report.md', 'video.mp4')
    return {name: (out / name).stat().st_mtime_ns for name in names}


def test_lost_results_are_made_again(project, adapted, tmp_path):
    out = shutil.copytree(adapted, tmp_path / 'out')
    before = times(out)
    run(project, out)
    assert times(out) == before  # nothing to do
    (out / 'video.mp4').unlink()
    run(project, out)
    changed = {name for name, time in times(out).items() if time != before[name]}
    assert changed == {'video.mp4'} and len(list(open_any(out / 'video.mp4'))) > 1
    for name in ('config.py', 'last.pth', 'detector.pth', 'report.md'):
        (out / name).unlink()
    run(project, out)
    expected, found = weights(adapted)['state_dict'], weights(out)['state_dict']
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert (out / 'report.md').is_file()
    assert len(list(VideoInferencer(out, device='cpu')([frame(0, 0)] * 2))) == 2


def test_a_report_is_that_of_the_labels(project, adapted, tmp_path):
    (tmp_path / 'labeled').mkdir()
    out = shutil.copytree(adapted, tmp_path / 'out')
    labels = write_videos(tmp_path / 'labeled', (8,))
    run(project, out, labels=labels, live_rate=100)
    before = times(out)
    text = (out / 'report.md').read_text()
    assert 'mAP' in text and '## Live, at 100 frames per second' in text
    assert '| the dense detector | synchronous |' in text
    run(project, out, labels=labels, live_rate=100)
    assert times(out) == before
    run(project, out)
    text = (out / 'report.md').read_text()
    assert 'mAP' not in text and '## Live' not in text


def test_looking_at_plans_changes_nothing_that_is_trained(project, adapted, tmp_path):
    out = tmp_path / 'out'

    def look(out=out, **options):
        return Plan.load(
            run(project, out, **dict(minutes=None, plan_only=True) | options) / 'plan.json'
        )

    plan = look(seed=7)
    assert (plan.minutes, plan.networks.key_interval, plan.seed) == (60, 10, 7)
    look(minutes=1e-3, key_interval=5)
    plan = look()
    assert (plan.minutes, plan.networks.key_interval, plan.seed) == (1e-3, 5, 7)
    further = write_video(tmp_path / 'further.mp4', 24, size=SIZE)
    more = [project / 'videos', further]
    plan = look(videos=more)
    assert str(further) in plan.videos.videos + plan.videos.held_back
    done = shutil.copytree(adapted, tmp_path / 'done')
    assert look(done, videos=more) == Plan.load(adapted / 'plan.json')
    for name in ('minutes', 'key_interval', 'seed'):
        with pytest.raises(PlanError, match=f'but {name} differs; give the same, or another --out'):
            look(done, **{name: 5})


def test_a_changed_config_is_another_detector(project, tmp_path):
    own, out = shutil.copytree(project, tmp_path / 'own'), tmp_path / 'out'
    config, look = Config.fromfile(own / 'detector.py'), dict(plan_only=True)
    before = Plan.load(run(own, out, **look) / 'plan.json')
    (out / 'detector.pth').write_bytes(b'of the former detector')
    config.model.test_cfg.score_thr = 0.2
    config.dump(own / 'detector.py')
    after = Plan.load(run(own, out, **look) / 'plan.json')
    assert after.config_digest != before.config_digest
    assert (out / 'detector.pth').read_bytes() != b'of the former detector'
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
    run(project, out)
    expected, found = weights(adapted)['state_dict'], weights(out)['state_dict']
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_folder_without_a_finished_validation_recommends_nothing(adapted, tmp_path):
    out = shutil.copytree(adapted, tmp_path / 'out')
    config = Config.fromfile(out / 'config.py')
    config.pop('recommended')
    config.dump(out / 'config.py')
    with pytest.warns(UserWarning, match='recommends no operating point'):
        VideoInferencer(out, device='cpu')


def test_unknown_heads_learn_with_the_regression_loss(project, tmp_path, monkeypatch):
    monkeypatch.setattr(dense_heads, 'HEADS', ())
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
    with pytest.raises(PlanError, match='fps is 0'):
        run(project, out, fps=0)
    (tmp_path / 'labeled').mkdir()
    labels = shutil.copy(write_videos(tmp_path / 'labeled', (2,)), tmp_path / 'moved.json')
    with pytest.raises(FileError, match='2 of its images are missing'):
        run(project, out, labels=labels)
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
