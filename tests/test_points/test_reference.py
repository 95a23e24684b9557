"""Reference without labels: the filter's boxes where it predicts left-out ones."""

import numpy as np
import pytest

from semidff.evaluation import Detections
from semidff.inference.point import Point
from semidff.points.reference import COMPARED, Reference, reference_of, stand_in
from semidff.points.runs import Run
from semidff.points.table import Table

FRAMES = 40
WIDTHS = dict(growing=20 + 3.0 * np.arange(FRAMES), steady=np.full(FRAMES, 60.0))


def run_of(point: Point, widths: np.ndarray, score: float = 0.9) -> Run:
    """A run that finds one box in each frame, of these widths."""
    ones, zeros = np.ones(FRAMES, int), np.zeros(FRAMES)
    boxes = np.stack([200 - widths / 2, zeros, 200 + widths / 2, zeros + 50], 1)
    found = Detections(np.arange(FRAMES), 0 * ones, score * ones, boxes)
    return Run(found, np.arange(FRAMES) % point.key_interval == 0, ones)


def runs_of_a_box(kind: str) -> dict[Point, list[Run]]:
    """Runs of a noisy detector; the filter makes boxes steady, and boxes that grow too narrow."""
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
        runs[Point('interpolate', 10)][0],
        runs[Point('frame')][0],
    )
    for run, count in ((every_tenth, 36), (dense, FRAMES)):  # *dense* has seen all
        assert [len(one) for one in reference.compared(run, True)] == [count] * 2
        assert [len(one) for one in reference.compared(run, False)] == [FRAMES] * 2


def test_points_that_see_all_frames_are_judged_by_every_second_one():
    half = Point('frame', scale=0.5)
    assert stand_in(half) == Point('interpolate', 2, 0.5)
    assert stand_in(Point('frame', scale=0.5, filter='causal')) == Point('track', 2, 0.5)
    assert stand_in(Point('copy', 5)) == Point('copy', 5)


def test_a_reference_is_read_as_it_was_written(tmp_path):
    reference, file = reference_in('growing'), tmp_path / 'points.json'
    reference.save(Table(file, dict(clips=['a'], trained='x')))
    found = Reference.load(Table(file, dict(clips=['a'], trained='y')))
    assert found.ious == reference.ious and np.array_equal(found.raw.boxes, reference.raw.boxes)
    assert Reference.load(Table(file, dict(clips=['b']))) is None
