"""What methods are compared with, without labels: the filter's boxes where it predicts those that are left out."""

import numpy as np
import pytest
from mmengine.config import Config

from semidff.analysis.evaluation_clips import EvaluationClip
from semidff.analysis.operating_points import measure_operating_points
from semidff.analysis.operating_report import points_table
from semidff.analysis.reference import COMPARED, reference_of, stand_in
from semidff.analysis.runs import OperatingPoint, Run
from tests.tiny.videos import CLASSES, build, test_settings, video_detector_cfg, write_videos

FRAMES = 40
WIDTHS = dict(growing=20 + 3.0 * np.arange(FRAMES), steady=np.full(FRAMES, 60.0))


def run_of(point: OperatingPoint, widths: np.ndarray, score: float = 0.9) -> Run:
    """A run that finds one box in each frame, of these widths."""
    ones, zeros = np.ones(FRAMES, int), np.zeros(FRAMES)
    boxes = np.stack([200 - widths / 2, zeros, 200 + widths / 2, zeros + 50], 1)
    run = Run(point, None, frames=FRAMES, keys=-(-FRAMES // point.key_interval))
    run.found.append((ones, 0 * ones, score * ones, boxes))
    run.seen.append(np.arange(FRAMES) % point.key_interval == 0)
    return run


def runs_of_a_box(kind: str) -> dict[OperatingPoint, list[Run]]:
    """Runs of a noisy detector, with a filter that makes noisy boxes steady, and all boxes too narrow that grow."""
    widths = WIDTHS[kind]
    noisy = widths + np.random.default_rng(0).normal(0, 1 if kind == 'growing' else 4, FRAMES)
    filtered = widths * (0.7 if kind == 'growing' else 1)
    found = {}
    for point in [*COMPARED, *map(stand_in, COMPARED)]:
        keys = np.arange(0, FRAMES, point.key_interval)
        between = np.interp(np.arange(FRAMES), keys, noisy[keys])
        found[point] = [run_of(point, filtered if point.filter else between)]
    return found


def reference_in(kind: str, min_score: float = 0.3):
    return reference_of([runs_of_a_box(kind)[point][0] for point in COMPARED], min_score)


def test_filtered_boxes_are_the_reference_where_they_predict_left_out_ones():
    assert not reference_in('steady').is_raw and reference_in('growing').is_raw
    tracked, interpolated = reference_in('growing').ious
    assert tracked == pytest.approx(0.7, abs=0.03) and interpolated > 0.9


def test_without_boxes_the_filter_has_shown_nothing():
    assert reference_in('steady', min_score=0.95).is_raw


def test_a_run_is_compared_with_raw_boxes_that_it_has_not_seen():
    runs = runs_of_a_box('growing')
    reference = reference_in('growing')
    every_tenth, dense = (
        runs[OperatingPoint('interpolate', 10)][0],
        runs[OperatingPoint('frame')][0],
    )
    for run, count in ((every_tenth, 36), (dense, FRAMES)):  # *dense* has seen all
        assert [len(one) for one in reference.compared(run, True)] == [count] * 2
        assert [len(one) for one in reference.compared(run, False)] == [FRAMES] * 2


def test_points_that_see_all_frames_are_judged_by_every_second_one():
    half = OperatingPoint('frame', 1, 0.5)
    assert stand_in(half) == OperatingPoint('interpolate', 2, 0.5)
    causal = half._replace(filter='causal')
    assert stand_in(causal) == OperatingPoint('track', 2, 0.5, 0, 'causal')
    assert stand_in(OperatingPoint('copy', 5)) == OperatingPoint('copy', 5)


@pytest.mark.parametrize('kind', WIDTHS)
def test_the_report_says_what_the_reference_is(tmp_path, kind):
    write_videos(tmp_path, (7, 4))
    model = build(video_detector_cfg())
    model.cfg = Config(test_settings(tmp_path / 'val.json', tmp_path / 'work'))
    model.dataset_meta = dict(classes=CLASSES)
    clip = EvaluationClip(files=tuple(map(str, sorted(tmp_path.glob('v0_*.png')))))
    runs = runs_of_a_box(kind)
    report = measure_operating_points(model, [clip], COMPARED, rounds=1, runs=runs)
    dense, filtered, tracked, interpolated = report['points']
    metrics, text = [one['metrics'] for one in report['points']], points_table(report)
    if kind == 'growing':
        assert report['settings']['is_raw'] and 'filtered boxes are no reference' in text
        assert metrics[0]['AP'] > metrics[1]['AP'] + 0.3 and metrics[1]['filtered'] == 1
        assert report['recommended'] in (dense, interpolated)
    else:
        assert not report['settings']['is_raw'] and 'filtered boxes are a reference' in text
        assert metrics[1]['AP'] == 1 and metrics[1]['left_out'] < 1
        assert report['recommended'] in (filtered, tracked, interpolated)
    names = report['classes'][0].keys()
    assert report['classes'][0]['class'] == CLASSES[0] and 'AP, the dense detector' in names
