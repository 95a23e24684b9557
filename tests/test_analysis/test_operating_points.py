"""Operating points: detections are those of the engine, shared ones are computed once; what the report says."""

import copy
import json
import time

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.analysis import operating_points as module
from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.operating_points import grid_of_points, measure_operating_points
from semidff.analysis.operating_report import point_name, points_table
from semidff.analysis.runs import OperatingPoint, Run, detect_clip, runs_of
from semidff.evaluation import Detections
from semidff.evaluation.metrics import agreement
from semidff.filter import picture_of
from semidff.inference import VideoEngine
from semidff.inference.executors import as_executor
from semidff.inference.methods import boxes
from semidff.utils.threads import torch_threads
from tests.damaged_video import write_video
from tests.detectors.graph_path import on_gpu
from tests.tiny.videos import (
    CLASSES,
    build,
    test_settings,
    video_detector_cfg,
    write_videos,
)

METHODS = ('frame', 'track', 'interpolate', 'propagate', 'centered', 'blend')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('points')
    write_video(folder / 'in.mp4', 7, size=(96, 64))
    write_videos(folder, (7, 4))
    return folder


@pytest.fixture(scope='module')
def model(folder):
    model = build(video_detector_cfg())
    model.cfg = Config(test_settings(folder / 'val.json', folder / 'work'))
    model.dataset_meta = dict(classes=CLASSES)
    return model


@pytest.fixture(scope='module')
def clip(folder):
    """Seven frames of a moving square."""
    return EvaluationClip(files=tuple(map(str, sorted(folder.glob('v0_*.png')))))


def test_a_clip_that_begins_later_has_the_frames_of_the_stream(folder):
    whole = [image.astype(int) for image in EvaluationClip(str(folder / 'in.mp4')).images()]
    later = list(EvaluationClip(str(folder / 'in.mp4'), 3, 9).images())
    assert len(whole) == 7 and len(later) == 4
    assert all(abs(a - b).max() < 4 for a, b in zip(whole[3:], later, strict=True))
    assert abs(whole[3] - whole[4]).max() > 5


def test_points_that_differ():
    points = grid_of_points(['track', 'copy'], [2, 3], [1.0], (1, 2, 0), (None, 'both'))
    assert [' '.join(map(str, (one[0], one[1], *one[3:]))) for one in points] == [
        'frame 1 1 None', 'frame 1 1 both', 'track 2 0 causal', 'track 2 0 both', 'track 3 0 causal', 'track 3 0 both',
        'copy 2 1 None', 'copy 2 1 both', 'copy 3 1 None', 'copy 3 1 both', 'copy 3 2 causal', 'copy 3 2 both',
    ]  # fmt: skip


@pytest.mark.parametrize('kind', ['causal', 'both'])
@pytest.mark.parametrize('method, every', [('propagate', 2), ('interpolate', 1), ('track', 0)])
def test_filtered_points_have_the_results_of_the_engine(clip, model, tmp_path, method, every, kind):
    """The last frames have another size."""
    files = [str(tmp_path / f'{number}.png') for number in range(4)]
    for file, source in zip(files, clip.files[2:6], strict=True):
        cv2.imwrite(file, cv2.imread(source)[:, :64])
    clip = EvaluationClip(files=(*clip.files, *files))
    engine = VideoEngine(model, method, 3, filter=kind, light_every=every)
    pack = module.pack_with(module.frame_pipeline(model.cfg))
    batches = (dict(pack(image), picture=[picture_of(image)]) for image in clip.images())
    expected = Run(OperatingPoint(method), None)
    expected.add(list(engine.run(batches, chunk=1)))
    points = OperatingPoint(method, 3), OperatingPoint(method, 3, 1.0, every, kind)
    runs = {point: runs_of(point, None, 1) for point in points}
    [[plain], [run]] = detect_clip(as_executor(model), clip, runs)
    assert all(map(np.array_equal, run.found[0], expected.found[0]))
    assert run.found[0][0].tolist() != plain.found[0][0].tolist() and run.filtering > 0
    assert (run.frames, run.keys) == (11, 5)
    assert run.lights == {'propagate': 3, 'interpolate': 6, 'track': 0}[method]


def test_times_of_light_and_tracked_frames(clip, model, monkeypatch):
    """Seven frames with three key frames, given the times of key, light and tracked frames and of reading."""
    laps = dict(frame=(100, 100, 10, 20), propagate=(110, 40, 10, 20), copy=(100, 20, 10, 20))
    given = {(method, 1.0): [np.divide(times, 1000)] for method, times in laps.items()}
    monkeypatch.setattr(module, '_measure_times', lambda *_: (given, {}))
    monkeypatch.setattr(time, 'thread_time', iter(range(1000)).__next__)  # a second for each block
    points = [OperatingPoint('propagate', 3), OperatingPoint('propagate', 3, light_every=2)]
    points += [OperatingPoint('track', 3)]
    report = measure_operating_points(model, [clip], points, min_score=0.0)
    filtering = 1000 * 8 / 7  # pictures and results
    expected = [100, 100 + filtering, 490 / 7, 430 / 7 + filtering, 340 / 7 + filtering]
    assert [one['milliseconds'] for one in report['points']] == pytest.approx(expected)


def test_points_with_smaller_input_and_filter(folder, clip, model, log):
    points = [
        OperatingPoint('frame', 1, 0.5),
        OperatingPoint('track', 3),
        OperatingPoint('small', 3, 0.5),
        OperatingPoint('track', 3, filter='both'),
        OperatingPoint('track', 8),  # longer than all clips
    ]
    videos = [clip, folder / 'in.mp4']
    report = measure_operating_points(model, videos, points, rounds=1, phases=2, min_score=0.0)
    dense, reference, *others = json.loads(json.dumps(report))['points']
    assert [one['method'] for one in others] == ['frame', 'track', 'small', 'track']
    assert [one['causal'] for one in others] == [True, True, True, False]
    assert others[1]['metrics'] != others[3]['metrics']
    assert report['settings']['sizes'] == {1.0: (64, 96), 0.5: (32, 48)}
    assert reference['metrics'].pop('boxes') > 0 and dense['speed_up'] == 1
    own = {name: reference['metrics'][name] for name in ('AP', 'AP_50', 'AP_75')}
    assert own == pytest.approx(dict(AP=1, AP_50=1, AP_75=1))
    assert dense['metrics']['AP'] < 1
    [row, *_] = report['classes']
    assert row['class'] == CLASSES[0] and row['boxes'] > 0
    recommended = point_name(report['recommended'])
    assert {f'AP, {name}' for name in ('the dense detector', recommended)} <= row.keys()
    assert all(one['metrics']['AP_50'] < 1 and one['milliseconds'] > 0 for one in others)
    assert 'left out, the longest clip has 7 frames: track at l = 8' in log.text


def metrics_of(report):
    return [one['metrics'] for one in report['points']]


def test_clips_that_are_processed_at_once(folder, clip, model):
    points = [OperatingPoint('propagate', 3), OperatingPoint('track', 3, filter='both')]
    found = []
    for threads in (1, 2):
        with torch_threads(threads):
            videos = [clip, folder / 'in.mp4']
            found.append(measure_operating_points(model, videos, points, rounds=1, min_score=0.0))
    for one, other in zip(*map(metrics_of, found), strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_points_on_a_gpu(clip, model, gpu):
    points = [OperatingPoint(method, 3) for method in METHODS[1:]]
    points += [OperatingPoint('propagate', 3, 0.5), OperatingPoint('track', 3, filter='both')]
    reports = (
        measure_operating_points(one, [clip], points, rounds=1) for one in (on_gpu(model), model)
    )
    for one, other in zip(*map(metrics_of, reports), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    assert gpu.captures >= 4 and not gpu.failed_captures


def test_the_dense_detector_is_that_of_before_the_training(clip, model):
    before = build(video_detector_cfg())
    before.cfg, before.dataset_meta = model.cfg, model.dataset_meta
    with torch.no_grad():
        before.spatial.detector.bbox_head.retina_reg.bias += 0.2
    points = [OperatingPoint('track', 3), OperatingPoint('propagate', 1)]
    settings = dict(rounds=1, min_score=0.0)
    report = measure_operating_points(model, [clip], points, detector=before, **settings)
    *others, propagate = metrics_of(report)
    alone = measure_operating_points(before, [clip], points[:1], **settings)
    assert others == metrics_of(alone) and others[1]['AP'] == 1
    image = before.spatial.detector
    image.cfg, image.dataset_meta = model.cfg, model.dataset_meta
    image.data_preprocessor = before.data_preprocessor
    assert metrics_of(
        measure_operating_points(image, [clip], points[:1], **settings)
    ) == metrics_of(alone)
    assert propagate['AP'] < 0.9  # its key frames are those of other heads


def test_work_at_key_frames_is_timed(clip, model, monkeypatch):
    link = boxes.link

    def slow(*args):
        time.sleep(0.5)
        return link(*args)

    monkeypatch.setattr(boxes, 'link', slow)
    methods = ('interpolate', 'centered', 'blend')
    points = [OperatingPoint(method, 5) for method in methods]
    report = measure_operating_points(model, [clip], points, rounds=1, min_score=0.0)
    _, _, of_interpolate, of_centered, of_blend = (one['milliseconds'] for one in report['points'])
    assert of_interpolate > 100 and of_blend > of_centered + 20 > 20


def test_labels(folder, model):
    """With labels, mAP is that of the metric; its agreement with tools/test.py is tested with the schedules."""
    points = [OperatingPoint('copy', 2), OperatingPoint('frame', 1, 1.5)]
    nameless = copy.copy(model)
    nameless.dataset_meta = dict(classes=())  # the classes are those of the json
    report = measure_operating_points(
        nameless, (), points, labels=folder / 'val.json', rounds=1, max_loss=0.5
    )
    names = ['mAP', 'AP', 'AP_50', 'AP_75', 'agreement_50', 'agreement', 'boxes']
    dense, reference, *_, larger = metrics_of(report)
    assert list(dense) == names and larger['agreement'] < 1
    assert reference['agreement'] == pytest.approx(1)
    assert report['classes'][0]['mAP, the dense detector'] >= 0
    assert '"agreement"' in points_table(report)
    assert report['settings']['frames'] == 11 and report['settings']['clips'] == 2
    assert all(0 <= one['mAP'] <= 1 for one in metrics_of(report))


def test_labels_of_images_without_videos_measure_the_detector_alone(folder, model):
    content = json.loads((folder / 'val.json').read_text())
    for image in content['images']:
        del image['video_id'], image['frame_id']
    (folder / 'plain.json').write_text(json.dumps(content))
    labels = dict(labels=folder / 'plain.json', rounds=1, min_score=0.0)
    with pytest.raises(ValueError, match='single frame, so that .* track, copy cannot be measured'):
        points = OperatingPoint('track', 3), OperatingPoint('copy', 3)
        measure_operating_points(model, (), points, **labels)
    assert measure_operating_points(model, (), [], **labels)['points']


@pytest.mark.parametrize(
    ('point', 'words'),
    [
        (('adaptive', 4), 'needs a calibrated error predictor'),
        (('sff-fast', 4), "'sff-fast' is not measured"),
        (('frame', 1, 0), 'scale > 0'),
        (('magic', 3), 'unknown method'),
    ],
)
def test_refused_before_anything_runs(folder, model, point, words):
    with pytest.raises(ValueError, match=words):
        measure_operating_points(model, [folder / 'in.mp4'], [OperatingPoint(*point)])


def test_agreement_counts_confident_boxes_only():
    box = [[0.0, 0, 10, 10], [20, 20, 30, 30]]
    reference = Detections(np.array([0, 1]), np.array([0, 0]), np.array([0.9, 0.2]), np.array(box))
    found = reference.select(np.array([0]))
    assert agreement(reference, found, 2) == pytest.approx(dict(AP=1, AP_50=1, AP_75=1))
    # with the other box as ground truth, half of the recall: 51 of 101 points
    assert agreement(reference, found, 2, 0.1)['AP'] == pytest.approx(51 / 101)
    with pytest.raises(ValueError, match='no box with a score of at least 0.95 .*highest 0.90'):
        agreement(reference, found, 2, 0.95)


def test_agreement_weights_classes_by_their_boxes():
    """Nine boxes of one class are found, that of another is not."""
    boxes = np.tile([[0.0, 0, 10, 10]], (10, 1))
    labels = np.array([0] * 9 + [3])
    reference = Detections(np.arange(10), labels, np.full(10, 0.9), boxes)
    found = reference.select(np.arange(9))
    assert agreement(reference, found, 10) == pytest.approx(dict(AP=0.9, AP_50=0.9, AP_75=0.9))
