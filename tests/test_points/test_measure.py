"""Measurements: detections are those of the inference, and nothing is measured twice."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from semidff.datasets.video_readers import Frame
from semidff.evaluation import Detections
from semidff.inference import Stages
from semidff.inference.executors import ExportedGraphs, as_executor
from semidff.inference.point import Point, grid
from semidff.points import measure as module
from semidff.points.clips import Clip, labeled_clips
from semidff.points.live import measure_live
from semidff.points.measure import measure
from semidff.points.report import report
from semidff.points.runs import Run, run_clips
from semidff.points.speed import Laps
from semidff.points.table import Table
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

KEY = dict(min_score=0.0)
METHODS = ['track', 'interpolate', 'propagate', 'centered']


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
    return Clip(files=tuple(map(str, sorted(folder.glob('v0_*.png')))))


@pytest.fixture
def laps(monkeypatch):
    """Seconds of light frames by method, and of key frames and others; nothing is timed."""
    seconds = dict(frame=0.1, propagate=0.04, copy=0.02, small=0.05, interpolate=0.01, key=0.1)
    seconds['others'] = 0.01

    def times(cases, *_):
        key, others = seconds['key'], seconds['others']
        return {case: [Laps(0, 0, key, seconds[p.method], others)] for case, p in cases.items()}

    monkeypatch.setattr(module, 'times', times)
    return seconds


def table_of(tmp_path, points, clips, model, key=KEY, **options) -> Table:
    table = Table.open(tmp_path / 'points.json', key)
    measure(table, points, clips, lambda point: as_executor(model), rounds=1, **options)
    return table


def test_a_clip_that_begins_later_has_the_frames_of_the_stream(folder):
    whole = [image.astype(int) for image in Clip(str(folder / 'in.mp4')).images()]
    later = list(Clip(str(folder / 'in.mp4'), 3, 9).images())
    assert len(whole) == 7 and len(later) == 4
    assert all(abs(a - b).max() < 4 for a, b in zip(whole[3:], later, strict=True))
    assert abs(whole[3] - whole[4]).max() > 5


@pytest.mark.parametrize('kind', ['causal', 'both'])
@pytest.mark.parametrize('method, every', [('propagate', 2), ('interpolate', 1), ('track', 0)])
def test_filtered_points_have_the_results_of_the_engine(clip, model, tmp_path, method, every, kind):
    """The last frames have another size."""
    files = [str(tmp_path / f'{number}.png') for number in range(4)]
    for file, source in zip(files, clip.files[2:6], strict=True):
        cv2.imwrite(file, cv2.imread(source)[:, :64])
    clip = Clip(files=(*clip.files, *files))
    plain, point = Point(method, 3), Point(method, 3, light_every=every, filter=kind)
    stages, pipeline = Stages(model, point), module.frame_pipeline(model.cfg)
    frames = (Frame(image, index) for index, image in enumerate(clip.images()))
    results = list(stages.run(stages.prepare(frames, pipeline), chunk=1))
    expected = Run.of([frame.sample for frame in results]).detections
    runs = run_clips(as_executor(model), [clip], list({plain, point}))
    [run] = runs[point]
    found = vars(run.detections).values()
    assert all(map(np.array_equal, found, vars(expected).values())) and run.filtering > 0
    if plain.filter is None:
        assert len(run.detections) != len(runs[plain][0].detections)
    lights = {'propagate': 3, 'interpolate': 6, 'track': 0}[method]
    assert run.counted.tolist() == [11, 5, lights]


def test_times_are_means_of_key_light_and_tracked_frames(clip, model, laps, tmp_path):
    """Seven frames with three key frames. Later times are relative to the detector's."""
    points = [Point('propagate', 3), Point('propagate', 3, light_every=2), Point('track', 3)]
    table_of(tmp_path, points[:2], [clip], model)
    laps.update({method: 3 * seconds for method, seconds in laps.items()})
    rows = table_of(tmp_path, points, [clip], model).rows
    filtering = [rows[point].filtering for point in points]
    expected = [0.11, 0.46 / 7 + 0.01, 0.38 / 7 + 0.01 + filtering[1]]
    found = [rows[point].seconds for point in (Point('frame'), *points)]
    assert found == pytest.approx([*expected, 0.3 / 7 + 0.01 + filtering[2] / 3])
    assert rows[points[1]].interval == pytest.approx(7 / 3) and filtering[1] > 0 == filtering[0]


def test_points_of_all_kinds(folder, clip, model, tmp_path, log):
    points = grid(method=['frame'], scale=[1.0, 0.5], filter=[None, 'both'])
    points += [Point('track', 3), Point('small', 3, 0.5), Point('track', 3, filter='both')]
    points += [Point('focus', 3, light_every=2)]
    points += [Point('track', 8)]  # longer than all clips
    table = table_of(
        tmp_path, points, [clip, Clip(str(folder / 'in.mp4'))], model, dict(KEY, phases=2)
    )
    assert [*table.measured] == list(table.rows) and len(table.rows) == 8
    assert table.failed.keys() == {Point('track', 8)}
    assert 'track, l = 8, filtered is left out: the longest clip has 7 frames' in log.text
    assert table.detector == Point('frame') and table.speed_up(Point('frame')) == 1
    metrics = {point: own.metrics for point, own in table.rows.items()}
    assert metrics[points[4]] != metrics[points[6]]
    prefix = 'filtered/' if table.evidence['reference'] == 'raw' else ''
    assert metrics[Point('frame', filter='both')][f'{prefix}AP'] == pytest.approx(1)
    assert table.evidence['frames'] == 14 and table.evidence['boxes'] > 0
    for own in table.rows.values():
        assert own.classes[CLASSES[0]][0] > 0 and own.seconds > 0 and own.boxes > 0
    assert 'Use **' in (text := report(table)) or 'Keep the **' in text


def test_nothing_is_measured_twice(clip, model, laps, tmp_path, monkeypatch):
    """Killed while the second group of points is measured; and after it, with further points."""
    calls, run = [], module.run_clips

    def note(executor, clips, points, *others):
        calls.append({*points})
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(executor, clips, points, *others)

    monkeypatch.setattr(module, 'run_clips', note)
    points = [Point('track', 3), Point('track', 2, scale=0.5)]
    with pytest.raises(KeyboardInterrupt):
        table_of(tmp_path, points, [clip], model)
    assert Point('track', 3) in calls[0] and json.loads((tmp_path / 'points.json').read_text())
    table_of(tmp_path, points, [clip], model)
    assert calls[2:] == [{points[1]}]
    before = (tmp_path / 'points.json').read_bytes()
    table_of(tmp_path, points, [clip], model)
    assert calls[3:] == [] and (tmp_path / 'points.json').read_bytes() == before
    table = table_of(tmp_path, [*points, Point('copy', 3)], [clip], model)
    assert calls[3:] == [{Point('copy', 3)}] and table.rows[Point('copy', 3)].seconds
    table_of(tmp_path, points, [clip], model, dict(KEY, clips='of others'))
    assert Point('track', 3) in calls[4]


def test_what_others_dominate_on_the_first_clips_is_measured_there_alone(
    folder, clip, model, laps, tmp_path, monkeypatch
):
    """With a margin below 0, accuracy does not matter."""
    monkeypatch.setattr(module, '_LEAST_BOXES', 1)
    monkeypatch.setattr(module, '_MARGIN', -2)
    clips, early = [clip, Clip(str(folder / 'in.mp4')), clip], []
    points = [Point('track', 2), Point('track', 3), Point('track', 4), Point('track', 3, scale=0.5)]
    table = Table.open(tmp_path / 'points.json', KEY)

    def refined():
        assert all(own.is_partial for own in table.measured.values())
        assert Table.open(table.file, KEY).missing(points) == points  # if it is killed now
        early.append([*table.measured])

    load, later = lambda point: as_executor(model), Point('propagate', 3)
    for asked in (points, [*points, later]):
        measure(table, asked, clips, load, rounds=1, refined=refined)
    assert early == [[Point('frame'), *points[:3]]]
    left = [point for point in points if point in table.failed]
    assert left and not {*left} & {*table.rows} and table.missing(points) == []
    assert 'is faster and more accurate' in table.failed[left[0]]
    expected = table_of(tmp_path / 'all', [*points, later], clips, model).rows
    assert later in table.rows
    for point, own in table.rows.items():
        assert own.metrics == expected[point].metrics and not own.is_partial
        assert (own.interval, own.boxes) == (expected[point].interval, expected[point].boxes)
    assert Table.open(table.file, KEY).failed == table.failed


def test_an_input_size_at_which_the_detector_fails_is_left_out(
    clip, model, laps, tmp_path, monkeypatch
):
    preprocess = model.preprocess

    def fail(inputs, samples):
        if inputs[0].shape[-1] < 96:
            raise RuntimeError('kernel size is greater than input')
        return preprocess(inputs, samples)

    monkeypatch.setattr(model, 'preprocess', fail)
    points = [Point('track', 3), Point('track', 3, scale=0.5)]
    table = table_of(tmp_path, points, [clip], model)
    assert table.failed == {points[1]: 'kernel size is greater than input'}
    assert table.missing(points) == [] and points[0] in table.measured


class Fallen(ExportedGraphs):
    """Graphs of which none can be exported."""

    def _export(self, *_):
        raise ValueError('an operator is missing')


def test_what_cannot_be_exported_is_a_point_of_pytorch(clip, model, laps, tmp_path, log):
    pytest.importorskip('onnxruntime')
    fallen = Fallen(model, None, 'onnxruntime')
    asked, table = Point('track', 3, runtime='onnxruntime'), Table.open(tmp_path / 'a.json', KEY)
    measure(table, [asked], [clip], lambda point: fallen, rounds=1)
    assert {point.runtime for point in table.rows} == {'torch'} and not table.missing([asked])
    assert 'runs in PyTorch' in log.text and 'onnxruntime' not in report(table)


def metrics_of(table):
    return {point: own.metrics for point, own in table.rows.items()}


def test_clips_that_are_processed_at_once(folder, clip, model, laps, tmp_path):
    points, found = [Point('propagate', 3), Point('track', 3, filter='both')], []
    for threads in (1, 2):
        with torch_threads(threads):
            clips = [clip, Clip(str(folder / 'in.mp4'))]
            found.append(metrics_of(table_of(tmp_path / str(threads), points, clips, model)))
    for point, metrics in found[0].items():
        assert metrics == pytest.approx(found[1][point], abs=1e-3)


def test_points_on_a_gpu(clip, model, gpu, tmp_path):
    points = grid(method=METHODS, key_interval=[3])
    points += [Point('propagate', 3, 0.5), Point('track', 3, filter='both')]
    found, expected = (
        metrics_of(table_of(tmp_path / name, points, [clip], detector, {}))
        for name, detector in (('gpu', on_gpu(model)), ('cpu', model))
    )
    for point, metrics in expected.items():
        assert found[point] == pytest.approx(metrics, abs=1e-3)
    assert gpu.captures >= 4 and not gpu.failed_captures


def test_methods_without_training_run_the_detector_of_before(clip, model, laps, tmp_path):
    before = build(video_detector_cfg())
    before.cfg, before.dataset_meta = model.cfg, model.dataset_meta
    with torch.no_grad():
        before.spatial.detector.bbox_head.retina_reg.bias += 0.2
    executors = {True: as_executor(model), False: as_executor(before)}
    table, points = Table.open(tmp_path / 'a.json', KEY), [Point('track', 3), Point('propagate', 1)]
    measure(table, points, [clip], lambda point: executors[point.uses_temporal])
    alone = metrics_of(table_of(tmp_path, points[:1], [clip], before))
    found = metrics_of(table)
    propagated = found.pop(points[1])
    assert found == alone and propagated['AP'] < 0.9  # its key frames are those of other heads


def test_labels(folder, model, laps, tmp_path):
    """With labels, mAP is that of the metric; tests/test_apis/test_points.py compares it with
    tools/test.py."""
    nameless = copy.copy(model)
    nameless.dataset_meta = dict(classes=())  # the classes are those of the json
    clips, truth = labeled_clips(folder / 'val.json', None, None)
    points = [Point('copy', 2), Point('frame', scale=1.5)]
    table = table_of(tmp_path, points, clips, nameless, {}, truth=truth)
    names = ['mAP', 'AP', 'AP_50', 'AP_75', 'agreement/AP', 'agreement/AP_50']
    assert all(list(own.metrics) == names for own in table.rows.values())
    assert table.rows[points[1]].metrics['agreement/AP'] < 1
    assert table.evidence['frames'] == 11 and table.evidence['reference'] == 'labels'
    assert table.rows[points[0]].classes['square'][0] == 11 and 'by labels' in report(table)


def test_live_rows(folder, clip, model, laps, tmp_path):
    table = table_of(tmp_path, [Point('track', 3)], [clip], model)
    measure_live(table, [clip], lambda point: as_executor(model), 50.0)
    rows = Table.open(table.file, KEY).rows
    assert [one['latency'] for one in rows[Point('track', 3)].live] == ['synchronous', 'bounded']
    assert '## Live, at 50 frames per second' in report(table)


def test_agreement_is_that_with_confident_boxes_and_weights_classes_by_them():
    """Nine boxes of one class are found, that of another one is not, and a weak one need not be."""
    labels, scores = np.array([0] * 9 + [3, 0]), np.array([0.9] * 10 + [0.2])
    reference = Detections(np.arange(11), labels, scores, np.tile([[0.0, 0, 10, 10]], (11, 1)))
    found = reference.select(np.arange(9))
    metrics, classes = module.agreement(reference, found, 11, names='abcd')
    assert metrics == pytest.approx(dict(AP=0.9, AP_50=0.9, AP_75=0.9))
    assert classes == dict(a=[9, pytest.approx(1)], d=[1, 0])
    # with the weak box, nine tenths of the recall of its class: 91 of 101 points
    metrics, _ = module.agreement(reference, found, 11, 0.1)
    assert metrics['AP'] == pytest.approx(10 / 11 * 91 / 101)
    with pytest.raises(ValueError, match='no box with a score of at least 0.95'):
        module.agreement(reference, found, 11, 0.95)
