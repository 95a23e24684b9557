"""Tables of invented figures: what is best, what is missing, and what a report says."""

import math
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from operator import ge
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from semidff.inference.point import Point
from semidff.points.clips import Clip
from semidff.points.report import MOST_ROWS, report, write_report
from semidff.points.table import LEAST_BOXES, Figures, Table, key_of

FRAME, SMALL = Point('frame'), Point('frame', scale=0.5)
TRACK, LONG = Point('track', 10), Point('track', 20)
CENTERED = Point('centered', 20)
EVIDENCE = dict(
    frames=300, clips=3, boxes=900, min_score=0.3, reference='raw', ious=[0.8, 0.9], timed='in.mp4'
)


def figures(ap: float, milliseconds: float, boxes: float = 3.0, **others) -> Figures:
    metrics = dict(AP=ap, AP_50=ap, AP_75=ap)
    return Figures(metrics, boxes, 1.0, 0.0, 0.0, seconds=milliseconds / 1000, **others)


def table(folder: Path = Path(), **rows) -> Table:
    """A table whose detector takes 100 ms and has an AP of 0.9 and three boxes per frame."""
    points = dict(small=SMALL, track=TRACK, long=LONG, centered=CENTERED, copied=Point('copy', 2))
    rows = {points[name]: own for name, own in rows.items()}
    return Table(folder / 'points.json', {}, dict(EVIDENCE), {FRAME: figures(0.9, 100), **rows})


@pytest.mark.parametrize(
    ('rows', 'options', 'expected'),
    [
        # the fastest one within the loss, and of those that take a tenth longer the most accurate
        (dict(track=(0.89, 30), centered=(0.88, 20), small=(0.7, 25)), {}, CENTERED),
        (dict(track=(0.89, 30), centered=(0.88, 20)), dict(causal=True), TRACK),
        (dict(track=(0.89, 30), small=(0.7, 25)), dict(max_loss=0.25), SMALL),
        (dict(track=(0.89, 30)), dict(max_loss=0.001), FRAME),
        (dict(track=(0.88, 20), long=(0.89, 21.9)), {}, LONG),
        (dict(track=(0.88, 20), long=(0.89, 22.1)), {}, TRACK),
        # the most accurate one that reaches a frame rate, or the fastest one
        (dict(track=(0.6, 30), centered=(0.5, 20)), dict(fps=9), FRAME),
        (dict(track=(0.6, 30), centered=(0.5, 20)), dict(fps=30), TRACK),
        (dict(track=(0.6, 30), centered=(0.5, 20)), dict(fps=100), CENTERED),
        # copies are measured for comparison
        (dict(track=(0.89, 22), copied=(0.89, 15)), {}, TRACK),
    ],
)
def test_the_best_point(rows, options, expected):
    found = table(**{name: figures(*own) for name, own in rows.items()})
    assert found.best(**options) == expected


def test_what_stands_for_the_detector_is_not_recommended_by_its_own_figures():
    found = table(track=figures(0.89, 60))
    found.rows[Point('interpolate', 2)] = figures(0.9, 50)
    assert found.best() == TRACK
    found.evidence['reference'] = 'labels'
    assert found.best() == Point('interpolate', 2)


def random_tables() -> Iterator[Table]:
    generator = random.Random(0)
    for _ in range(200):
        found = table()
        for number in range(2, 12):
            ap, milliseconds = generator.uniform(0.8, 1), generator.uniform(5, 150)
            point = Point(generator.choice(['track', 'interpolate', 'copy']), number)
            found.rows[point] = figures(ap, milliseconds, generator.choice([0, 2, 3, 4]))
        yield found


@pytest.mark.parametrize('options', [{}, dict(fps=30), dict(causal=True), dict(fps=1e6)])
def test_of_random_points_the_best_one_keeps_boxes_and_is_fast(options):
    for found in random_tables():
        best, rows = found.best(**options), found.rows
        assert rows[best].boxes >= LEAST_BOXES * 3 and best.method != 'copy'
        assert best.is_causal or 'causal' not in options
        for point in rows:
            able = point.is_causal and point.method != 'copy' and found.keeps_boxes(point)
            if able and (options.get('fps') or found.loss(point) <= 0.03):
                is_better = rows[point].metrics['AP'] > rows[best].metrics['AP']
                assert not is_better or rows[point].seconds > max(
                    rows[best].seconds, 1 / options.get('fps', math.inf)
                )


def test_of_random_points_those_of_the_front_dominate_all_others():
    for found in random_tables():
        merits = {
            point: (-own.seconds, point.is_causal, round(own.metrics['AP'], 3))
            for point, own in found.rows.items()
        }

        def dominate(points: list[Point], point: Point, merits: dict = merits) -> bool:
            better = [merits[p] for p in points if merits[p] != merits[point]]
            return any(all(map(ge, other, merits[point])) for other in better)

        front = found.front()
        for point in found.rows:
            assert dominate(front, point) == (point not in front)
        seconds = [found.rows[point].seconds for point in front]
        assert seconds == sorted(seconds)


def test_a_smaller_input_that_is_better_does_not_hide_a_loss():
    """It has a higher AP, but less AP_50, which may be lost no further."""
    found = table(small=figures(0.95, 50), track=figures(0.94, 20))
    found.rows[SMALL].metrics['AP_50'], found.rows[TRACK].metrics['AP_50'] = 0.8, 0.78
    assert found.loss(TRACK) == pytest.approx(0.12) and found.best() == FRAME


def test_a_point_without_boxes_is_not_even_shown():
    found = table(track=figures(0.7, 14), long=figures(0.8, 13), small=figures(0.9, 12))
    assert 'track, l = 20' in report(found)  # the best one, although another method is better
    found = table(track=figures(0.967, 14, boxes=0.0))
    assert found.best() == FRAME and 'track' not in report(found)


@pytest.mark.parametrize('ap', [0.0, math.nan])
def test_where_the_detector_has_no_accuracy_nothing_is_better(ap):
    found = table(track=figures(ap, 10))
    found.rows[FRAME] = figures(ap, 100)
    assert found.best() == found.best(fps=50) == FRAME
    assert ('| - |' in report(found)) == math.isnan(ap)


def test_a_table_is_read_as_it_was_written(tmp_path):
    found = table(tmp_path, track=figures(0.8, 30, classes=dict(cat=[3, 0.5])))
    found.key = dict(clips=('a',), trained='x')
    found.failed[SMALL] = 'too small'
    found.rows[Point('propagate', 5)] = figures(math.nan, 20)
    found.save()
    again = Table.open(found.file, found.key)
    assert again.rows.keys() == found.rows.keys() and again.rows[TRACK] == found.rows[TRACK]
    assert (again.failed, again.evidence) == (found.failed, found.evidence)
    assert again.missing([FRAME, TRACK, SMALL, LONG]) == [LONG]
    assert not Table.open(found.file, dict(found.key, clips=['b'])).rows
    trained = Table.open(found.file, dict(found.key, trained='y'))  # the detector is the same
    assert trained.missing(found.rows) == [Point('propagate', 5)]
    withdrawn = found.file.read_text().replace('"track"', '"blend"')
    found.file.write_text(withdrawn)
    assert Table.open(found.file, found.key).rows.keys() == found.rows.keys() - {TRACK}


def test_a_point_is_that_of_the_runtime_that_computed_it():
    """What fell back to PyTorch is not measured again, and does not have the other's name."""
    found = table(track=figures(0.9, 30, asked='openvino'))
    assert found.missing([replace(TRACK, runtime='openvino')]) == []
    assert found.missing([replace(LONG, runtime='openvino')]) == [replace(LONG, runtime='openvino')]
    assert 'openvino' not in report(found)


def test_the_report_is_short(tmp_path):
    found = table(tmp_path, centered=figures(0.88, 20))
    for interval in range(2, 40):
        found.rows[Point('track', interval)] = figures(0.8 - interval / 200, 60 / interval)
    write_report(found, tmp_path, 'X')
    text = (tmp_path / 'report.md').read_text()
    rows = [line for line in text.splitlines() if line.startswith('|')]
    assert len(rows) == 2 + MOST_ROWS and all(row.count('|') == 9 for row in rows)
    assert 'Use **centered, l = 20**: 5.0 times as fast' in text and 'It waits for later' in text
    assert 'AP -2.0, AP_50 -2.0 points, 100 % of its boxes' in text and 'Caution' not in text
    assert '| detector on every frame | 1.00 | 10.0 | 90.0 |' in text
    assert (tmp_path / 'report.png').stat().st_size > 5000


def test_the_report_says_what_is_lost_and_how_much_it_rests_on():
    found = table(track=figures(0.88, 20, classes=dict(dog=[40, 0.7], cat=[50, 0.5], ant=[5, 0.0])))
    found.rows[FRAME].classes = dict(dog=[40, 0.71], cat=[50, 0.9], ant=[5, 1.0])
    assert 'Classes that lose most: cat -40.0 (50 boxes).' in report(found)
    found.evidence |= dict(boxes=5, frames=12, clips=1)
    assert '**Caution:** this rests on 5 boxes in 12 frames of 1 clip.' in report(found)
    assert 'Keep the **detector on every frame**' in report(table())


def test_the_other_reference_is_asked_too():
    found = table(track=figures(0.89, 30))
    for point, own in found.rows.items():
        own.metrics |= {'filtered/AP': 0.5, 'filtered/AP_50': 0.9 if point == FRAME else 0.5}
    assert 'By filtered boxes, it would be detector on every frame.' in report(found)


def key(files: Path, **options) -> dict:
    config = Config(dict(model=dict(type='A'), recommended=dict(method='track')))
    given = dict(config=config, detector=str(files / 'detector.pth'))
    given |= dict(clips=[Clip(str(files / 'in.mp4'), 0, 5)], labels=files / 'val.json')
    given |= dict(trained=str(files / 'trained.pth'), min_score=0.3)
    return key_of(**given | options)


@pytest.fixture
def files(tmp_path):
    """Arguments of a key."""
    for name, value in (('detector.pth', 0.0), ('trained.pth', 1.0), ('other.pth', 3.0)):
        torch.save(dict(state_dict=dict(a=torch.full((2,), value))), tmp_path / name)
    (tmp_path / 'in.mp4').write_bytes(bytes(10_000))
    (tmp_path / 'other.mp4').write_bytes(bytes(5000) + b'1' + bytes(4999))
    (tmp_path / 'val.json').write_text('{}')
    (tmp_path / 'other.json').write_text('[]')
    return tmp_path


def test_what_does_not_change_is_not_measured_again(files):
    before = key(files)
    os.utime(files / 'in.mp4', (1, 1))
    (files / 'moved').mkdir()
    moved = Clip(str((files / 'in.mp4').rename(files / 'moved' / 'in.mp4')), 0, 5)
    config = Config(dict(model=dict(type='A'), recommended=dict(method='frame')))
    assert key(files, clips=[moved], config=config) == before


def test_whatever_changes_is_measured_again(files, monkeypatch):
    before, other = key(files), str(files / 'other.pth')
    for changed in (
        dict(detector=other),
        dict(trained=other),
        dict(labels=files / 'other.json'),
        dict(config=Config(dict(model=dict(type='B')))),
        dict(clips=[Clip(str(files / 'other.mp4'), 0, 5)]),
        dict(clips=[Clip(str(files / 'in.mp4'), 1, 5)]),
        dict(min_score=0.4),
    ):
        assert key(files, **changed) != before, changed
    monkeypatch.setenv('OMP_NUM_THREADS', '77')
    assert key(files) != before
