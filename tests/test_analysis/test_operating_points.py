"""Operating points: detections are those of the engine, shared ones are computed once; what the report says."""

import copy
import json
import time

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from semidff.analysis.detection_memory import DetectionMemory
from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.operating_points import OperatingPoint, measure_operating_points
from semidff.analysis.operating_report import MeasuredPoint, OperatingReport
from semidff.analysis.point_detections import PointDetections
from semidff.analysis.point_times import PointTimes
from semidff.evaluation import Detections
from semidff.evaluation.metrics import agreement
from semidff.inference import FixedSchedule, MethodError, VideoEngine
from semidff.inference.loading import frame_pipeline
from semidff.inference.methods import boxes, propagation
from tests.damaged_video import write_video
from tests.tiny_video import (
    CLASSES,
    build,
    detector_cfg,
    test_settings,
    video_detector_cfg,
    write_videos,
)

METHODS = ('frame', 'coast', 'interpolate', 'propagate', 'centered', 'blend')


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


def by_engine(model, clip, method, schedule):
    pipeline, engine = frame_pipeline(model.cfg), VideoEngine(model, method, schedule=schedule)
    results = []
    for image in clip.images():
        results += engine.push(pseudo_collate([pipeline(dict(img=image))]))
    return results + engine.flush()


def test_detections_are_those_of_the_engine_and_each_is_computed_once(clip, model):
    calls = []
    hook = model.temporal.register_forward_hook(lambda *_: calls.append(1))
    runs = PointDetections(model, [clip], places=2)
    points = [OperatingPoint('frame'), *(OperatingPoint(m, 4) for m in METHODS[1:])]
    runs.detect(points, lambda text: None)
    hook.remove()
    # first key frames 0, 4 (propagate: 5 pairs; centered: frame 3 from frame 4) and 0, 2, 6 (4 pairs, of which frame 1
    # from 0 is known; centered: frame 5 from frame 6); blend: those of centered
    assert len(calls) == 5 + 1 + 3 + 1
    for point in points:
        for first, found in zip(
            (2, 4) if point.method != 'frame' else (1,), runs.of(point).detections, strict=True
        ):
            schedule = FixedSchedule(point.key_interval, first)
            expected = by_engine(model, clip, point.method, schedule)
            boxes = np.concatenate([one.pred_instances.bboxes.numpy() for one in expected])
            assert found.boxes == pytest.approx(boxes, abs=1e-4) and len(boxes) > 20
            counts = [len(one.pred_instances) for one in expected]
            assert np.bincount(found.frames, minlength=7).tolist() == counts


def test_smaller_input_and_continued_run(folder, clip, model, tmp_path, monkeypatch):
    points = [
        OperatingPoint('frame', 1, 0.5),
        OperatingPoint('coast', 3),
        OperatingPoint('copy', 3, 0.5, 2),
    ]
    settings = dict(rounds=1, folder=tmp_path, places=2, min_score=0.0)
    longer = OperatingPoint('coast', 8)  # than all clips
    report = measure_operating_points(
        model, [clip, folder / 'in.mp4'], [*points, longer], **settings
    )
    content = json.loads(json.dumps(report.to_dict()))
    assert [one['method'] for one in content['points']] == ['frame', 'frame', 'coast', 'copy']
    assert report.settings['sizes'] == {1.0: (64, 96), 0.5: (32, 48)}
    dense = report.points[0]
    assert list(dense.metrics) == ['AP_50', 'AP', 'AP_75'] and dense.speed_up == 1
    assert list(dense.metrics.values()) == pytest.approx([1, 1, 1])
    assert all(one.accuracy < 1 and one.milliseconds > 0 for one in report.points[1:])
    monkeypatch.setattr(
        PointDetections, '_run', None
    )  # nothing is detected again, whatever a teacher's weights
    monkeypatch.setitem(model._modules, 'teacher_task', torch.nn.Linear(1, 1))
    again = measure_operating_points(model, [clip, folder / 'in.mp4'], points, **settings)
    assert [one.metrics for one in again.points] == [one.metrics for one in report.points]


def test_kept_detections_are_those_of_the_same_pipeline(clip, model, tmp_path):
    def boxes(size):
        pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=size)]
        pipeline.append(dict(type='PackVideoFrame'))
        own = copy.copy(model)
        own.cfg = Config(dict(model=model.cfg.model, detector_dataset=dict(pipeline=pipeline)))
        runs = PointDetections(own, [clip], folder=tmp_path)
        runs.detect([OperatingPoint('frame')], lambda text: None)
        return runs.of(OperatingPoint('frame')).detections[0].boxes

    first = boxes((96, 64))
    assert not np.array_equal(first, boxes((48, 32)))
    assert np.array_equal(first, boxes((96, 64))) and len(list(tmp_path.glob('*.npz'))) == 2


def test_an_image_detector_needs_no_training(folder, clip, model):
    detector = build(detector_cfg())
    detector.load_state_dict(model.spatial.detector.state_dict())
    detector.cfg, detector.dataset_meta = model.cfg, model.dataset_meta
    points = [OperatingPoint('coast', 3)]
    report = measure_operating_points(detector, [clip], points, rounds=1, min_score=0.0)
    expected = measure_operating_points(model, [clip], points, rounds=1, min_score=0.0)
    assert [p.metrics for p in report.points] == [p.metrics for p in expected.points]


def test_the_dense_detector_is_that_of_before_the_training(clip, model, tmp_path, monkeypatch):
    before = build(video_detector_cfg())
    before.cfg, before.dataset_meta = model.cfg, model.dataset_meta
    with torch.no_grad():
        before.spatial.detector.bbox_head.retina_reg.bias += 0.2
    points = [OperatingPoint('coast', 3), OperatingPoint('propagate', 1)]
    settings = dict(rounds=1, min_score=0.0, folder=tmp_path)
    report = measure_operating_points(model, [clip], points, detector=before, **settings)
    dense, coast, propagate = (one.metrics for one in report.points)
    alone = measure_operating_points(before, [clip], points[:1], **settings)
    assert [dense, coast] == [one.metrics for one in alone.points] and dense['AP'] == 1
    assert propagate['AP'] < 0.9  # its key frames are those of other heads
    monkeypatch.setattr(PointDetections, '_run', None)  # nothing is detected again,
    for weight in before.temporal.parameters():  # whatever its unused temporal module
        weight.data += 1
    again = measure_operating_points(model, [clip], points, detector=before, **settings)
    assert [one.metrics for one in again.points] == [one.metrics for one in report.points]


def test_work_at_key_frames_is_timed(clip, model, monkeypatch):
    link = boxes.link

    def slow(*args):
        time.sleep(0.5)
        return link(*args)

    for module in (boxes, propagation):
        monkeypatch.setattr(module, 'link', slow)
    points = {OperatingPoint(method, 10): model for method in ('interpolate', 'centered', 'blend')}
    times = PointTimes(points, clip)
    times.measure(1, lambda text: None)
    of_interpolate, of_centered, of_blend = (times.seconds(point, 10)[0] for point in points)
    assert of_interpolate > 0.05
    assert times.seconds(OperatingPoint('interpolate', 10), 20)[0] < of_interpolate
    assert 0 < of_centered < 0.05 < of_blend


def test_masks_are_not_kept(clip, model, monkeypatch):
    """Those of all frames of a clip would not fit into memory."""
    predict = model.spatial.predict

    def with_masks(*args):
        samples = predict(*args)
        for sample in samples:
            sample.pred_instances.masks = torch.zeros(len(sample.pred_instances), 64, 96)
        return samples

    monkeypatch.setattr(model.spatial, 'predict', with_masks)
    memory = DetectionMemory(model)
    engine, pipeline = VideoEngine(memory, 'propagate', key_interval=3), frame_pipeline(model.cfg)
    for index, image in enumerate(clip.images()):
        data = pseudo_collate([pipeline(dict(img=image))])
        data['data_samples'][0].set_metainfo(dict(frame_id=index))
        (result,) = engine.push(data)
        assert 'masks' not in result.pred_instances and len(result.pred_instances)
    assert not any('masks' in found for found in memory._found.values())


def test_labels(folder, model):
    """With labels, mAP is that of the metric; its agreement with tools/test.py is tested with the schedules."""
    points = [OperatingPoint('copy', 2), OperatingPoint('frame', 1, 1.5)]
    nameless = copy.copy(model)
    nameless.dataset_meta = dict(classes=())  # the classes are those of the json
    report = measure_operating_points(
        nameless, points=points, labels=folder / 'val.json', rounds=1, max_loss=0.5
    )
    names = ['mAP', 'AP', 'AP_50', 'AP_75', 'agreement_50', 'agreement']
    assert list(report.points[0].metrics) == names
    assert (
        report.points[0].metrics['agreement'] == pytest.approx(1)
        and '"agreement"' in report.markdown()
    )
    assert report.points[1].metrics['agreement'] < 1
    assert report.settings['frames'] == 11 and report.settings['clips'] == 2
    assert all(0 <= one.accuracy <= 1 for one in report.points)


def test_labels_without_boxes_are_refused(folder, model, tmp_path):
    content = json.loads((folder / 'val.json').read_text())
    (tmp_path / 'val.json').write_text(json.dumps(dict(content, annotations=[])))
    with pytest.raises(ValueError, match='val.json: has no box of the classes disc, square'):
        measure_operating_points(model, labels=tmp_path / 'val.json', images=folder)


@pytest.mark.parametrize(
    ('points', 'options', 'words'),
    [
        ([('adaptive', 4)], {}, 'needs a calibrated error predictor'),
        ([('sff-fast', 4)], {}, "'sff-fast' is not measured"),
        ([('coast', 0)], {}, 'key_interval >= 1'),
        ([('frame', 1, 0)], {}, 'scale > 0'),
        ([], dict(videos=()), '0 clips'),
        ([], dict(max_loss=-0.05), 'max_loss >= 0'),
        ([], dict(min_score=30), 'min_score from 0 to 1'),
    ],
)
def test_refused_before_anything_runs(folder, model, points, options, words):
    videos = options.pop('videos', [folder / 'in.mp4'])
    with pytest.raises(ValueError, match=words):
        measure_operating_points(model, videos, points, **options)
    with pytest.raises(MethodError, match='unknown method'):
        measure_operating_points(model, videos, [('magic', 3)])


def test_agreement_counts_confident_boxes_only():
    box = [[0.0, 0, 10, 10], [20, 20, 30, 30]]
    reference = Detections(np.array([0, 1]), np.array([0, 0]), np.array([0.9, 0.2]), np.array(box))
    found = reference.select(np.array([0]))
    assert agreement(reference, found, 2) == pytest.approx(dict(AP=1, AP_50=1, AP_75=1))
    # with the other box as ground truth, half of the recall: 51 of 101 points
    assert agreement(reference, found, 2, 0.1)['AP'] == pytest.approx(51 / 101)
    with pytest.raises(ValueError, match='no box with a score of at least 0.95 .*highest 0.90'):
        agreement(reference, found, 2, 0.95)


def measured(method, interval, scale, accuracy, milliseconds):
    point = OperatingPoint(method, interval, scale)
    return MeasuredPoint(
        point, interval, dict(mAP=accuracy, AP=accuracy), milliseconds, 100 / milliseconds
    )


def test_report(tmp_path):
    dense = [measured('frame', 1, 1.0, 0.9, 100), measured('frame', 1, 0.5, 0.7, 25)]
    above = measured('propagate', 10, 1.0, 0.89, 30)
    below = measured('propagate', 20, 1.0, 0.6, 26)
    fast = measured('centered', 20, 1.0, 0.88, 20)
    report = OperatingReport([*dense, above, below], 0.03)
    assert report.recommended is above and report.pareto() == [dense[1], above, dense[0]]
    # between 25 ms and 100 ms in the logarithm
    assert report.above_dense(above) == pytest.approx(0.89 - (0.7 + 0.2 * np.log(1.2) / np.log(4)))
    assert report.verdict().startswith(
        'Use propagate at l = 10: 3.3 times as fast, within 3 points'
    )
    offline = OperatingReport([*dense, above, fast], 0.03)
    assert 'centered at l = 20' in offline.verdict() and offline.above_dense(fast) is None
    assert offline.verdict().endswith('for live video use propagate at l = 10 (3.3 times as fast).')
    rival = OperatingReport([*dense, below], 0.25)
    assert rival.verdict().startswith('Use smaller frames instead: dense, input size × 0.5 is 4.0')
    assert OperatingReport([*dense, below], 0.03).verdict().startswith('Keep the dense detector')
    better = OperatingReport([dense[0], measured('frame', 1, 0.5, 0.91, 25)], 0.03)
    assert better.verdict().startswith('Use smaller frames instead: dense, input size × 0.5')
    # with a frame rate, the most accurate point that reaches it, whatever it loses
    for fps, *expected in ((9, dense[0], dense[0]), (33, above, above), (40, fast, dense[1])):
        target = OperatingReport([*dense, above, below, fast], 0.03, fps=fps)
        assert [target.recommended, target.best(causal=True)] == expected
    assert ', 50.0 frames per second, 2.0 points of mAP lost' in target.verdict()
    assert target.verdict().endswith('for live video use smaller frames (4.0 times as fast).')
    target = OperatingReport([dense[0], above, fast], 0.03, fps=40)
    assert target.verdict().endswith(
        'for live video use propagate at l = 10 (3.3 times as fast, 33.3 frames per second; nothing causal reaches 40).'
    )
    target = OperatingReport([*dense, above], 0.03, fps=99)
    assert 'nothing that was measured reaches 99' in target.verdict()
    table = offline.markdown()
    assert '| dense | | 1 | 100.0 | 1.00 | 90.0 | 90.0 |' in table and 'centered (offline)' in table
    offline.plot(tmp_path / 'points.png')
    assert (tmp_path / 'points.png').stat().st_size > 10000
