"""An adaptation from end to end: a tiny RetinaNet and short mp4 files."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yapf.yapflib.yapf_api as yapf_api
from mmengine.config import Config

from semidff.adaptation import AdaptError, networks, self_training, steps, training
from semidff.adaptation.config import detector_config
from semidff.adaptation.folder import AdaptedFolder, Choices
from semidff.adaptation.steps import can_pay, check_labels
from semidff.apis import VideoInferencer, adapt
from semidff.checkpoints.safe import CheckpointError
from semidff.datasets.video_list import VideoListError
from semidff.datasets.video_readers import open_any
from semidff.inference.point import Point
from semidff.models.spatial import dense_heads
from semidff.points.table import Figures, Table
from semidff.utils import atomic_write
from semidff.utils.error_messages import FileError
from tests.damaged_video import write_video
from tests.processes import call
from tests.tiny import models
from tests.tiny.videos import CLASSES, SIZE, frame, write_detector, write_videos


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
        for name in training.LEAST:
            patch.setitem(training.LEAST, name, 3)
        patch.setattr(networks, 'DOWNSAMPLING', (2,))
        patch.setattr(yapf_api, 'FormatCode', lambda text, **options: (text, True))
        patch.setattr(steps, 'SCALES', (1.0,))
        patch.setattr(steps, 'DENSE_SCALES', (1.0,))
        patch.setattr(steps, 'INTERVALS', (2, 5))
        patch.setattr(steps, 'TRAINED_INTERVALS', (5,))
        patch.setattr(steps, 'LIGHT_EVERY', (1, 2))
        patch.setattr(steps, '_FRAMES', (40, 40))
        yield


def run(project: Path, out: Path, **options) -> Path:
    settings = dict(videos=[project / 'videos'], checkpoint=project / 'one.pth', minutes=1e-3)
    settings |= dict(anyway=True, device='cpu', runtime='torch') | options
    return adapt(str(project / 'detector.py'), out=out, **settings)


@pytest.fixture(scope='module')
def adapted(project, tmp_path_factory, short):
    return run(project, tmp_path_factory.mktemp('adapted') / 'out')


@pytest.fixture(scope='module')
def untrained(project, tmp_path_factory, short):
    return run(project, tmp_path_factory.mktemp('untrained') / 'out', no_training=True)


def weights(folder: Path) -> dict:
    return torch.load(folder / 'last.pth', weights_only=True)


def points_of(folder: Path) -> list[dict]:
    return json.loads((folder / 'points.json').read_text())['points']


def times(out: Path) -> dict[str, int]:
    """Time of change of each result."""
    files = [file for file in out.rglob('*') if file.is_file()]
    files = [file for file in files if file.suffix not in ('.log', '.lock')]
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in files}


def test_choices(project, adapted):
    choices = Choices.load(adapted)
    assert choices.skipped == [str(project / 'videos' / 'broken.mp4')]
    assert len(choices.held_back) == 1 and len(choices.trained) == 4
    assert not {*choices.held_back} & {*choices.trained}
    assert choices.iterations == dict(regression=3, semantic=3)
    assert choices.frames['frames_per_window'] < 10 < choices.frames['window']
    training_steps = Config.fromfile(adapted / 'training' / 'config.py').train_cfg.steps
    assert [step.param_scheduler[0].eta_max for step in training_steps] == [1.6e-3, 8e-4]
    assert choices.network.strides == (8, 16, 32) and choices.network.flow_stride == 8
    assert 'where it is about as accurate as track, l = ' in choices.why
    methods = {row['method'] for row in points_of(adapted)}
    assert methods == {
        'frame',
        'track',
        'interpolate',
        'small',
        'focus',
        'copy',
        'propagate',
    }


@pytest.mark.parametrize(
    ('focus', 'non_key', 'fps', 'pays', 'words'),
    [
        (30, 36, None, False, '9.4 ms a frame at l = 20'),
        (30, 10, None, True, 'without training, track, l = 10, filtered takes 8.0 ms, 1.5 times'),
        (6, 10, None, False, 'light frames every 2, filtered takes 6.0 ms, 1.1 times as long'),
        (30, 10, 50, False, '50 frames per second are reached'),
        (30, 36, 200, True, '200 frames per second are not reached'),
    ],
)
def test_a_training_can_pay_or_not(monkeypatch, focus, non_key, fps, pays, words):
    """Three of 20 frames, propagated, add 0.15 times their time to that of *track*, 4 ms."""
    monkeypatch.setattr(steps, 'LIGHT_EVERY', (1, 2, 5))

    def row(ap: float, milliseconds: float) -> Figures:
        metrics = dict(AP=ap, AP_50=ap)
        return Figures(metrics, 1.0, 1.0, 0.0, 0.0, seconds=milliseconds / 1000)

    rows = {Point('frame'): row(0.9, 100), Point('interpolate', 10): row(0.89, 6)}
    rows |= {Point('track', 5): row(0.88, 15), Point('track', 10): row(0.8, 8)}
    rows |= {Point('track', 20): row(0.6, 4), Point('focus', 10, light_every=2): row(0.81, focus)}
    found = can_pay(Table(Path(), {}, rows=rows), non_key / 1000, fps)
    assert found[0] == pays and words in found[1]


def test_nothing_is_trained_where_it_cannot_pay(project, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(steps, 'LEAST_SPEEDUP', 1e9)
    out = run(project, tmp_path / 'out', anyway=False)
    assert 'training cannot pay: propagation would take' in capsys.readouterr().out
    assert not (out / 'last.pth').exists() and (out / 'video.mp4').stat().st_size
    inferencer = VideoInferencer(out, device='cpu', show_progress=False)
    assert not inferencer.model.has_temporal and len(list(inferencer([frame(0, 0)] * 2))) == 2


def test_without_training(project, untrained, capsys):
    choices = Choices.load(untrained)
    assert len(choices.held_back) == 5 and not (untrained / 'last.pth').exists()  # all are measured
    recommended = Config.fromfile(untrained / 'config.py').recommended
    inferencer = VideoInferencer(untrained, device='cpu', show_progress=False)
    assert inferencer.point.method == recommended['method']
    text = (untrained / 'report.md').read_text()
    assert f'This folder runs {inferencer.point}:' in text
    assert f'VideoInferencer({str(untrained)!r})' in text
    before = times(untrained)
    run(project, untrained, no_training=True)
    assert times(untrained) == before  # nothing to do
    assert f'The folder runs {inferencer.point}:' in capsys.readouterr().out
    call('video_demo.py', project / 'videos' / '0.mp4', untrained, '--max-frames', 3)
    assert f'{untrained} runs {inferencer.point}' in capsys.readouterr().out
    assert (live := AdaptedFolder.read(untrained).live).is_causal
    with pytest.raises(SystemExit):
        call('video_demo.py', 99, untrained)  # There is no such camera.
    assert f'{untrained} runs {live}\n' in capsys.readouterr().out


RESULTS = (
    'choices.json',
    'detector.pth',
    'reference.npz',
    'points.json',
    'report.png',
    'report.md',
    'config.py',
    'video.mp4',
)


class Killed(BaseException):
    """What no code handles."""


def test_killed_at_any_write_it_goes_on(project, untrained, tmp_path, monkeypatch):
    """The first write of each file fails, one after the other; the end is that of a run without
    interruption.
    """
    replace, killed = os.replace, []

    def kill(*given):
        name = Path(given[1]).name
        if name in RESULTS and name not in killed:
            killed.append(name)
            raise Killed
        replace(*given)

    out = tmp_path / 'out'
    monkeypatch.setattr(atomic_write.os, 'replace', kill)
    for _ in RESULTS:
        with pytest.raises(Killed):
            run(project, out, no_training=True)
    run(project, out, no_training=True)
    assert {*killed} == {*RESULTS} and times(out).keys() == times(untrained).keys()
    found, expected = (
        {tuple(row.values())[:7]: row['metrics'] for row in points_of(folder)}
        for folder in (out, untrained)
    )
    assert found.keys() == expected.keys()
    assert all(found[point] == pytest.approx(metrics) for point, metrics in expected.items())


def test_a_video_that_has_changed_is_measured_again(project, untrained, tmp_path):
    out, videos = shutil.copytree(untrained, tmp_path / 'out'), tmp_path / 'videos'
    shutil.copytree(project / 'videos', videos)
    run(project, out, no_training=True, videos=[videos])
    before = {row['method']: row['metrics'] for row in points_of(out)}
    for number in range(5):
        write_video(videos / f'{number}.mp4', 27, size=SIZE)
    run(project, out, no_training=True, videos=[videos])
    assert before != {row['method']: row['metrics'] for row in points_of(out)}


@pytest.mark.parametrize('better', [True, False])
def test_the_detector_is_trained_first(project, tmp_path, monkeypatch, better):
    monkeypatch.setattr(self_training, '_LEAST', 2)
    monkeypatch.setattr(self_training, '_FRAMES', 40)
    judge = self_training.judge
    monkeypatch.setattr(self_training, 'judge', lambda *given: (better, judge(*given)[1]))
    options = dict(adapt_detector=True, no_training=True)
    out = run(project, tmp_path / 'out', **options)
    read = lambda file: torch.load(file)['state_dict']  # noqa: E731
    before, after = read(project / 'one.pth'), read(out / 'student' / 'detector.pth')
    weight = 'bbox_head.retina_cls.weight'
    assert not torch.equal(before[weight], after[weight])
    assert torch.equal(read(out / 'detector.pth')[weight], (after if better else before)[weight])
    known = times(out)
    run(project, out, **options)
    assert times(out) == known
    with pytest.raises(AdaptError, match='was trained on other videos'):
        run(project, out, videos=[project / 'videos' / '0.mp4'], **options)


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
    recommended = Config.fromfile(adapted / 'config.py').recommended
    inferencer = VideoInferencer(adapted, device='cpu', show_progress=False)
    assert inferencer.point.method == recommended['method']
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


def test_unknown_heads_learn_with_the_regression_loss(project, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dense_heads, 'HEADS', ())
    out = run(project, tmp_path / 'out')
    assert Choices.load(out).network.steps == ('regression',)
    assert 'only the regression loss is possible' in capsys.readouterr().out


def test_lost_results_are_made_again(project, adapted, tmp_path):
    out = shutil.copytree(adapted, tmp_path / 'out')
    run(project, out)  # the report names the folder
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


def test_a_report_is_that_of_the_labels(project, untrained, tmp_path):
    (tmp_path / 'labeled').mkdir()
    out = shutil.copytree(untrained, tmp_path / 'out')
    labels = write_videos(tmp_path / 'labeled', (8,))
    run(project, out, labels=labels, no_training=True)
    assert (
        'by labels' in (out / 'report.md').read_text() and points_of(out)[0]['metrics']['mAP'] >= 0
    )
    run(project, out, no_training=True)
    assert 'by labels' not in (out / 'report.md').read_text()


def test_a_changed_config_is_another_detector(project, untrained, adapted, tmp_path):
    own, out = (
        shutil.copytree(project, tmp_path / 'own'),
        shutil.copytree(untrained, tmp_path / 'out'),
    )
    config, before = Config.fromfile(own / 'detector.py'), Choices.load(out)
    config.model.test_cfg.score_thr = 0.2
    config.dump(own / 'detector.py')
    run(own, out, no_training=True)
    assert Choices.load(out).key != before.key
    with pytest.raises(
        AdaptError, match='whose training has begun; give the same, or another --out'
    ):
        run(own, shutil.copytree(adapted, tmp_path / 'trained'))


def test_an_interrupted_training_continues_with_the_same_result(project, adapted, tmp_path):
    out = tmp_path / 'out'
    shutil.copytree(adapted, out, ignore=shutil.ignore_patterns('*.pth', 'last_checkpoint'))
    shutil.copy(adapted / 'detector.pth', out)
    config = (out / 'training' / 'config.py').read_text().replace(str(adapted), str(out))
    (out / 'training' / 'config.py').write_text(config)
    interrupted = []

    def interrupt(hook, runner, *args, **kwargs):
        if runner.iter == 4:
            interrupted.append(runner.iter)
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.hooks.IterTimerHook._after_iter', interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(project, out)
    run(project, out)
    expected, found = weights(adapted)['state_dict'], weights(out)['state_dict']
    assert interrupted and expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_folder_without_a_finished_validation_recommends_nothing(adapted, tmp_path):
    out = shutil.copytree(adapted, tmp_path / 'out')
    config = Config.fromfile(out / 'config.py')
    config.pop('recommended')
    config.dump(out / 'config.py')
    with pytest.warns(UserWarning, match='recommends no operating point'):
        VideoInferencer(out, device='cpu')


def test_networks_of_segmentation_are_refused(project, tmp_path):
    pytest.importorskip('mmseg', reason='needs the extra segmentation')
    steps = [dict(type='LoadImageFromFile'), dict(type='mmseg.PackSegInputs')]
    settings = dict(model=models.segmentor(), test_dataloader=dict(dataset=dict(pipeline=steps)))
    imports = dict(imports=['semidff.utils.mmseg_extra'])
    Config(dict(settings, custom_imports=imports)).dump(tmp_path / 'seg.py')
    own = models.build(dict(type='VideoDetector', detector=models.segmentor())).spatial.detector
    torch.save(dict(state_dict=own.state_dict()), tmp_path / 'seg.pth')
    with pytest.raises(AdaptError, match='seg: predicts label maps; only detectors'):
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
    with pytest.raises(AdaptError, match='fps is 0'):
        run(project, out, fps=0)
    (tmp_path / 'labeled').mkdir()
    labels = shutil.copy(write_videos(tmp_path / 'labeled', (2,)), tmp_path / 'moved.json')
    with pytest.raises(FileError, match='2 of its images are missing'):
        run(project, out, labels=labels)
    torch.save(dict(state_dict=dict(other=torch.zeros(2))), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='does not fit'):
        run(project, out, checkpoint=tmp_path / 'other.pth')
    with pytest.raises(AdaptError, match='is the adaptation of'):
        run(project, adapted, checkpoint=tmp_path / 'other.pth')
    (tmp_path / 'foreign').mkdir()
    (tmp_path / 'foreign' / 'last.pth').touch()
    with pytest.raises(FileError, match='is not that of an earlier adaptation'):
        run(project, tmp_path / 'foreign')
    usage = shutil.disk_usage('.')._replace(free=1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(FileError, match='GB of disk space, 0.00 GB are free'):
        run(project, tmp_path / 'full')
    assert not (tmp_path / 'full' / 'training' / 'config.py').exists()


def test_passwords_of_addresses_are_not_kept(project, tmp_path, monkeypatch):
    address = 'ftp://user:' + 'secret@host/one.pth'
    read = steps.read_checkpoint
    for name in ('semidff.checkpoints.read', 'semidff.adaptation.config'):
        monkeypatch.setattr(
            f'{name}.read_checkpoint',
            lambda path: read(project / 'one.pth' if '://' in str(path) else path),
        )
    out = run(project, tmp_path / 'out', checkpoint=address, no_training=True)
    texts = [file.read_bytes() for file in out.rglob('*') if file.is_file()]
    assert not any(b'secret' in text for text in texts)
